package redisbus

import "testing"

func TestSlotOf(t *testing.T) {
	if got := crc16("123456789"); got != 0x31c3 {
		t.Errorf("CRC of the specification's example is %#x", got)
	}
	// What CLUSTER KEYSLOT answers.
	for key, want := range map[string]int{
		"": 0, "foo": 12182, "bar": 5061, "gw:project:42:tasks": 11740, "gw.seen:{gw:project:42:tasks}:x": 11740,
		"{user1000}.following": 3443, "{user1000}.followers": 3443, "foo{}{bar}": 8363, "foo{{bar}}zap": 4015, "foo{bar}{zap}": 5061, "foo{bar": 15278,
	} {
		if got := slotOf(key); got != want {
			t.Errorf("slot of %q is %d, want %d", key, got, want)
		}
	}
}

// The server's word on random keys.
func TestSlotOfAgreesWithRedis(t *testing.T) {
	t.Parallel()
	n := clusterNode(t)
	for _, key := range []string{"a", "gw:project:42:tasks", "{", "}", "{}", "}{", "{a", "a}", "{{a}}", "x{a}b{c}", "{}{a}", "gw.probe:X:17", "\xff{\x00}"} {
		if want := n.do("cluster", "keyslot", key).(int64); int64(slotOf(key)) != want {
			t.Errorf("slot of %q is %d, the server says %d", key, slotOf(key), want)
		}
	}
}
