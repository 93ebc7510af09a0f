package redisbus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/redis/go-redis/v9"
)

// answer is an error that Redis answered with.
type answer string

func (a answer) Error() string { return string(a) }
func (answer) RedisError()     {}

var _ redis.Error = answer("")

func TestErrorsOfRedis(t *testing.T) {
	const script6 = "ERR Error running script (call to f_0123456789): @user_script:98: @user_script: 98: -"
	for _, tt := range []struct {
		err                             error
		refusal, unloaded, unfunctional bool
	}{
		{err: nil},
		{err: io.EOF},
		{err: context.DeadlineExceeded},
		{err: errors.New("dial tcp: connection refused")},
		{err: redis.ErrClosed},
		// The call, or the code, will not do.
		{err: answer("ERR gateway: the payload is not valid UTF-8"), refusal: true},
		{err: answer("WRONGTYPE Operation against a key holding the wrong kind of value"), refusal: true},
		{err: answer("ERR value is not an integer"), refusal: true},
		{err: answer("CROSSSLOT Keys in request don't hash to the same slot"), refusal: true},
		{err: answer("NOAUTH Authentication required."), refusal: true},
		{err: answer("WRONGPASS invalid username-password pair"), refusal: true},
		{err: fmt.Errorf("wrapped: %w", answer("ERR gateway: no")), refusal: true},
		// The code is missing.
		{err: answer("NOSCRIPT No matching script. Please use EVAL."), unloaded: true},
		{err: answer("ERR Function not found"), unloaded: true},
		// No functions, or none for us.
		{err: answer("ERR unknown command 'FCALL', with args beginning with: 'gateway_publish' "), refusal: true, unfunctional: true},
		{err: answer("ERR unknown command `fcall`, with args beginning with: "), refusal: true, unfunctional: true},
		{err: answer("NOPERM this user has no permissions to run the 'fcall' command"), refusal: true, unfunctional: true},
		{err: answer("NOPERM User app has no permissions to run the 'function|load' command"), refusal: true, unfunctional: true},
		// A key that is not for us says nothing about functions.
		{err: answer("NOPERM No permissions to access a key"), refusal: true},
		{err: answer("NOPERM this user has no permissions to access one of the keys used as arguments"), refusal: true},
		{err: answer("NOPERM User app has no permissions to run the 'evalsha' command"), refusal: true},
		// What Redis says of its own state passes.
		{err: answer("LOADING Redis is loading the dataset in memory")},
		{err: answer("READONLY You can't write against a read only replica.")},
		{err: answer("CLUSTERDOWN The cluster is down")},
		{err: answer("TRYAGAIN Multiple keys request during rehashing of slot")},
		{err: answer("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.")},
		{err: answer("OOM command not allowed when used memory > 'maxmemory'.")},
		{err: answer("BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.")},
		{err: answer("MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.")},
		{err: answer("NOREPLICAS Not enough good replicas to write.")},
		{err: answer("UNKILLABLE Sorry the script already executed write commands against the dataset.")},
		{err: answer("ERR max number of clients reached")},
		{err: answer("MOVED 866 127.0.0.1:7001")},
		{err: answer("ASK 866 127.0.0.1:7001")},
		// Redis 6 says the same out of a script like this.
		{err: answer(script6 + "OOM command not allowed when used memory > 'maxmemory'. ")},
		{err: answer(script6 + "READONLY You can't write against a read only replica. ")},
		{err: answer(script6 + "MISCONF Redis is configured to save RDB snapshots")},
		{err: answer(script6 + "NOREPLICAS Not enough good replicas to write.")},
		{err: answer(script6 + "WRONGTYPE Operation against a key holding the wrong kind of value"), refusal: true},
	} {
		t.Run(fmt.Sprint(tt.err), func(t *testing.T) {
			if got := isRefusal(tt.err); got != tt.refusal {
				t.Errorf("isRefusal is %v", got)
			}
			if got := isUnloaded(tt.err); got != tt.unloaded {
				t.Errorf("isUnloaded is %v", got)
			}
			if got := isUnsupported(tt.err); got != tt.unfunctional {
				t.Errorf("isUnsupported is %v", got)
			}
		})
	}
}
