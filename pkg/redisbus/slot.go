package redisbus

import "strings"

// slotCount is how many slots a Redis Cluster has.
const slotCount = 16384

// slotOf returns the slot of a key or of a shard channel. "Keys hash tags. If
// the key contains a { character, and if there is a } character to the right of
// {, and if there are one or more characters between the first occurrence of {
// and the first occurrence of }, then instead of hashing the key, only what is
// between [them] is hashed" (Redis Cluster specification).
func slotOf(key string) int {
	if _, after, ok := strings.Cut(key, "{"); ok {
		if tag, _, ok := strings.Cut(after, "}"); ok && tag != "" {
			key = tag
		}
	}
	return int(crc16(key)) % slotCount
}

// crc16 is CRC-16/XMODEM: polynomial 0x1021, begun with zero, not reflected.
func crc16(s string) uint16 {
	var crc uint16
	for i := range len(s) {
		crc = crc<<8 ^ crcTable[byte(crc>>8)^s[i]]
	}
	return crc
}

var crcTable = func() (table [256]uint16) {
	for i := range table {
		crc := uint16(i) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
		table[i] = crc
	}
	return table
}()
