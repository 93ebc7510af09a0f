#!/bin/sh
# Deploys nothing, and says so to all who watch: ./deploy.sh PROJECT VERSION. It publishes with redis-cli alone.
set -eu
project=${1:?PROJECT} version=${2:?VERSION}
redis=${REDIS_URL:-redis://127.0.0.1:6399}

# Progress counts only at the moment, and the channel has no history: PUBLISH is enough.
percent=0
for step in build test upload switch; do
  percent=$((percent + 25))
  redis-cli -u "$redis" PUBLISH "project:$project:status" \
    "{\"type\":\"status\",\"data\":{\"step\":\"$step\",\"percent\":$percent}}" >/dev/null
  sleep 0.3
done

# That it is out must reach everybody, once: FCALL with an EVENTID, repeated until Redis has answered. -e makes redis-cli
# fail where Redis answers with an error.
attempt=1
until redis-cli -e -u "$redis" FCALL gateway_publish 1 "gw:project:$project:notifications" \
  "{\"type\":\"notification\",\"data\":{\"text\":\"$version of $project is out\"}}" EVENTID "deploy-$project-$version" >/dev/null; do
  [ "$attempt" -lt 6 ] || exit 1
  sleep "$attempt"
  attempt=$((attempt + 1))
done
