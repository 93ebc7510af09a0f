// Command gateway is the Realtime Gateway: it fans events out from Redis to
// browsers over Server-Sent Events.
//
//	gateway               serves (see gateway --help for the settings)
//	gateway --dev         serves with an embedded Redis, to try it out
//	gateway publish       publishes one event to Redis
//	gateway tail          prints the events of channels as they come
//	gateway token         signs a token for a user
//	gateway check-config  shows the settings that apply, or what is wrong
//	gateway healthcheck   asks the gateway of this machine whether it lives
//	gateway version       shows what was built
//
// The exit code is 0 where a command did what it was asked, also when it was
// stopped by a signal while serving or tailing; 2 where the command line or the
// configuration is wrong, so that trying again is pointless; 1 for any other
// failure. Errors are one line on standard error.
package main
