-- The Redis side of Realtime Gateway: what it means to publish, record and
-- open a channel. One source for two ways of running it: as the function
-- library "gateway" (Redis 7), and as scripts for EVALSHA where functions do
-- not exist. The gateway puts the settings (PREFIX, ANNOUNCE, MAX_PAYLOAD,
-- PLAIN_WINDOW, REVOCATION_LIFE, POLICIES) above this text and the entry points
-- below it, so a publisher needs to know neither policies nor key names.
--
-- A channel's only state is its stream, the one key that callers declare. The
-- predecessor of a new entry comes from the stream itself, never from a side
-- key: during a live slot migration Redis decides by the declared key where a
-- call runs, and a side key written on every publish would be created twice.

local function fail(what)
  return redis.error_reply('ERR gateway: ' .. what)
end

-- known caches the policy of a channel whose name has been checked, and due
-- from when on its stream has to be looked after again (see keep). They only
-- live on in a function library; a script starts with empty ones.
local known, due, known_count = {}, {}, 0

-- call is redis.call: each use of a global is several look-ups, and while a
-- library is loaded it is not there.
local call

local function channel_of(key)
  return string.sub(key, #PREFIX + 2)
end

-- resolve returns the policy for a stream's key, or nil and what is wrong with
-- the key.
local function resolve(keys)
  call = redis.call
  if #keys ~= 1 then
    return nil, 'exactly one key is needed, the stream of the channel: ' .. PREFIX .. ':<channel>'
  end
  local key = keys[1]
  local policy = known[key]
  if policy then
    return policy
  end
  local channel = channel_of(key)
  if string.sub(key, 1, #PREFIX + 1) ~= PREFIX .. ':' then
    return nil, 'the key must be the stream of the channel, ' .. PREFIX .. ':<channel>, but it does not begin with ' .. PREFIX .. ':'
  end
  if #channel < 1 or #channel > 255 then
    return nil, 'a channel name has 1 to 255 bytes, this one has ' .. #channel
  end
  if string.find(channel, '[^A-Za-z0-9._~@/+=:-]') then
    return nil, 'a channel name consists of A-Z a-z 0-9 . _ ~ @ / + = - in segments parted by a colon'
  end
  if string.find(':' .. channel .. ':', '::', 1, true) then
    return nil, 'a channel name has no empty segment (nothing before, between or after colons)'
  end
  if string.sub(channel, 1, #PREFIX + 1) == PREFIX .. ':' or string.sub(channel, 1, #PREFIX + 1) == PREFIX .. '.' then
    return nil, 'channel names beginning with ' .. PREFIX .. ': or ' .. PREFIX .. '. are reserved'
  end
  for _, p in ipairs(POLICIES) do
    if string.find(channel, p.pattern) then
      if known_count >= 10000 then
        known, due, known_count = {}, {}, 0
      end
      known[key] = p
      known_count = known_count + 1
      return p
    end
  end
  return nil, 'no channel policy matches "' .. channel .. '": add one to the configuration of the gateway'
end

-- sequence is the pattern of the characters that a byte can begin in UTF-8
-- (RFC 3629: no surrogates, no overlong forms, nothing above U+10FFFF).
local function sequence(lead)
  if lead < 194 or lead > 244 then return nil end
  if lead < 224 then return '[\194-\223][\128-\191]' end
  if lead == 224 then return '\224[\160-\191][\128-\191]' end
  if lead == 237 then return '\237[\128-\159][\128-\191]' end
  if lead < 240 then return '[\225-\236\238\239][\128-\191][\128-\191]' end
  if lead == 240 then return '\240[\144-\191][\128-\191][\128-\191]' end
  if lead < 244 then return '[\241-\243][\128-\191][\128-\191][\128-\191]' end
  return '\244[\128-\143][\128-\191][\128-\191]'
end

-- utf8 tells whether s is well-formed UTF-8. This is what a long payload costs
-- most. An anchored pattern costs a quarter of one that is tried at each byte,
-- so few characters beyond ASCII are looked at one by one; but each costs a
-- call, so many are replaced at once, all of a kind. They become a letter, so
-- that what stands around them cannot join into a new character.
local function utf8(s)
  local at, singly = 1, 64
  while true do
    local _, ascii = string.find(s, '^[\1-\127%z]*', at)
    if ascii == #s then return true end
    local pattern = sequence(string.byte(s, ascii + 1))
    if not pattern then return false end
    if singly > 0 then
      local first, last = string.find(s, pattern, ascii + 1)
      if first ~= ascii + 1 then return false end
      at, singly = last + 1, singly - 1
    else
      s = string.gsub(string.sub(s, ascii + 1), pattern, 'x')
      at = 1
      if string.byte(s) ~= 120 then return false end
    end
  end
end

local function bad_payload(payload)
  if payload == nil then
    return 'the payload is missing: FCALL gateway_publish 1 ' .. PREFIX .. ':<channel> <payload> [EVENTID id] [TYPE name] [TTL ms]'
  end
  if #payload > MAX_PAYLOAD then
    return 'the payload has ' .. #payload .. ' bytes, allowed are ' .. MAX_PAYLOAD
  end
  if not utf8(payload) then
    return 'the payload is not valid UTF-8'
  end
end

local function bad_label(name, value)
  if #value < 1 or #value > 255 then
    return name .. ' has 1 to 255 bytes, this one has ' .. #value
  end
  if string.find(value, '^[\32-\126]*$') then
    return nil
  end
  if string.find(value, '%c') then
    return name .. ' must not contain control characters'
  end
  if not utf8(value) then
    return name .. ' is not valid UTF-8'
  end
end

-- good_ttl tells whether it is a number of milliseconds above 0. Fifteen digits
-- stay exact in a Lua number.
local function good_ttl(value)
  return #value <= 15 and string.find(value, '^[1-9]%d*$')
end

-- top returns the stream's last position, also when its last entry is gone,
-- and nil where there is no stream; and the last entry's fields, if it is there.
local function top(key)
  local last = call('XREVRANGE', key, '+', '-', 'COUNT', '1')[1]
  if last then
    return last[1], last[2]
  end
  if call('EXISTS', key) == 0 then
    return nil
  end
  local info = call('XINFO', 'STREAM', key)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      return info[i + 1]
    end
  end
end

-- clock is the Redis time as a position, with the microseconds as sequence.
local function clock()
  local time = call('TIME')
  return string.format('%s%03d-%d', time[1], math.floor(time[2] / 1000), time[2] % 1000)
end

-- DIGITS are those of a position's milliseconds, until the year 2286.
local DIGITS = 13

-- salt is the sequence that this server begins milliseconds with. Redis would
-- take 0 for all: then a master that has been replaced, and does not know it
-- yet, and the new one would give one position to two events, as would a stream
-- that was deleted and begun anew. A client that has seen the one would be taken
-- for somebody who has seen the other.
local salt

-- following is the id of a stream's next entry.
local function following(prev)
  -- To format the time as clock does would cost half a microsecond more.
  local time = call('TIME')
  local micros = time[2]
  if not salt then salt = '-' .. micros % 999 + 1 end
  local ms = time[1] .. (#micros == 6 and string.sub(micros, 1, 3) or string.sub('00000' .. micros, -6, -4))
  if prev and string.sub(prev, 1, DIGITS) >= ms then return '*' end
  return ms .. salt
end

local function millis(position)
  return tonumber(string.sub(position, 1, DIGITS)) or tonumber(string.match(position, '^%d+'))
end

local function parts(position)
  local ms, seq = string.match(position, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end

-- less tells whether a position comes before another.
local function less(a, b)
  local ams, aseq = parts(a)
  local bms, bseq = parts(b)
  return ams < bms or ams == bms and aseq < bseq
end

local function field(fields, name)
  for i = 1, #fields, 2 do
    if fields[i] == name then return fields[i + 1] end
  end
end

-- While a Cluster moves a slot, its old owner lets a script touch the keys that
-- are still there and no others, neither to read nor to make them. The stream
-- is there, or the call would not be; a side key need not be. What a side key
-- would have told is then looked up in the stream, and field m, carried on from
-- entry to entry, tells until when that has to go on, because side keys were
-- not made.

-- recall reads a side key. moving is true where that cannot be done.
local function recall(key)
  local value = redis.pcall('GET', key)
  if type(value) == 'table' then
    if string.find(value.err, 'non local key', 1, true) then return nil, true end
    return nil, false, value
  end
  return value or nil, false
end

-- carried is the value of field m: it always is the third.
local function carried(fields)
  if fields and fields[5] == 'm' then return tonumber(fields[6]) end
end

-- newest_with returns the newest entry that is not older than a time and whose
-- fields the test accepts.
local function newest_with(key, since, test)
  for _, entry in ipairs(call('XREVRANGE', key, '+', string.format('%.0f', math.max(since, 0)))) do
    if test(entry[2]) then return entry end
  end
end

local function time_ms()
  local time = call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function trim_by_age(key, policy, now)
  if policy.ttl > 0 then
    call('XTRIM', key, 'MINID', '=', string.format('%.0f', now - policy.ttl))
  end
end

-- renew lets a stream live for its life and a sixteenth from now on, in ms: the
-- clock or, where that is ahead of it, the stream's last position. So who
-- publishes within that sixteenth need not renew it, and nobody shortens it,
-- whatever the clock does.
local function renew(key, policy, now, clock_ms)
  local ahead = now - clock_ms
  call('PEXPIRE', key, ahead == 0 and policy.lives or string.format('%.0f', ahead + policy.life * 17 / 16))
end

-- keep renews a stream's life and trims it by age, if either is due, after its
-- last position became now, in ms. before is the one before, nil for a new
-- stream. By age a busy stream is trimmed sixteen times per lifetime, a quiet
-- one at nearly every publish.
--
-- That an earlier call renewed the life can be relied upon, because a server
-- that takes over another's data takes over its library too, and begins with
-- nothing due.
local function keep(key, policy, now, before)
  if before and due[key] and now < due[key] then return end
  local was = before and millis(before)
  -- A position of a later time than the one before is the clock's.
  renew(key, policy, now, was and was >= now and time_ms() or now)
  local again = now + policy.life / 16
  if policy.ttl > 0 then
    local part = math.floor(now * 16 / policy.ttl)
    if was and part ~= math.floor(was * 16 / policy.ttl) then
      trim_by_age(key, policy, now)
    end
    again = math.min(again, (part + 1) * policy.ttl / 16)
  end
  due[key] = again
end

-- length is a label's, as text: to make that anew costs as much as a command.
local lengths = {}

local function length(label)
  if not label then return '0' end
  local text = lengths[#label]
  if not text then
    text = tostring(#label)
    lengths[#label] = text
  end
  return text
end

-- announcement is the text that announces an event.
local function announcement(position, prev, payload, event_id, event_type, ttl)
  if event_id or event_type or ttl then
    return '1 ' .. position .. ' ' .. prev .. ' ' .. (ttl or '0') .. ' '
      .. length(event_id) .. ' ' .. length(event_type) .. '\n' .. (event_id or '') .. (event_type or '') .. payload
  end
  return '1 ' .. position .. ' ' .. prev .. ' 0 0 0\n' .. payload
end

-- What is announced under a stream's name is believed, so a publisher need not
-- have the right to that. Without it, it leaves a hint under the bare name,
-- where it may publish whatever it likes: where the event lies in the stream,
-- for a gateway to announce it; or, without history, the event itself. A hint is
-- no UTF-8, so no payload can be one.
local HINT = '\255gateway '

-- hinting tells whether the caller has to leave hints, or what right it lacks
-- for that. To ask writes nothing to the ACL log, and costs 0.15 µs. Redis 6
-- cannot be asked; there tell finds out.
local function hinting(key)
  local may = redis.acl_check_cmd
  if not may or may(ANNOUNCE, key, '') then return false end
  local channel = channel_of(key)
  if may('PUBLISH', channel, '') then return true end
  return nil, redis.error_reply('NOPERM gateway: this user may publish neither to ' .. channel .. ' nor to ' .. key
    .. ': it needs +publish and &' .. channel .. ', see docs/redis-acl.md')
end

-- tell announces an event, or leaves a hint of it.
local function tell(key, policy, position, text, hint)
  if not hint then
    if redis.acl_check_cmd then
      call(ANNOUNCE, key, text)
      return
    end
    local answer = redis.pcall(ANNOUNCE, key, text)
    if type(answer) ~= 'table' then return end
    if not string.find(answer.err, "can't publish to the channel", 1, true) and not string.find(answer.err, 'NOPERM', 1, true) then
      call(ANNOUNCE, key, text) -- raises it
      return
    end
  end
  call('PUBLISH', channel_of(key), policy.size > 0 and HINT .. 'at ' .. position or HINT .. 'event ' .. text)
end

-- put appends and announces one event, and returns its position. prev is the
-- stream's top, and until the value of field m, if it has to be carried on.
local function put(key, policy, prev, until_ms, payload, event_id, event_type, ttl, recorded, hint)
  local position
  if policy.size > 0 then
    local id, p = following(prev), prev or '0-0'
    if until_ms or event_type or ttl or recorded then
      local entry = {'XADD', key, 'MAXLEN', policy.maxlen, id, 'p', p, 'd', payload}
      if until_ms then entry[#entry + 1] = 'm'; entry[#entry + 1] = string.format('%.0f', until_ms) end
      if event_id then entry[#entry + 1] = 'e'; entry[#entry + 1] = event_id end
      if event_type then entry[#entry + 1] = 't'; entry[#entry + 1] = event_type end
      if ttl then entry[#entry + 1] = 'x'; entry[#entry + 1] = ttl end
      if recorded then entry[#entry + 1] = 'r'; entry[#entry + 1] = recorded end
      position = call(unpack(entry))
    elseif event_id then
      position = call('XADD', key, 'MAXLEN', policy.maxlen, id, 'p', p, 'd', payload, 'e', event_id)
    else
      position = call('XADD', key, 'MAXLEN', policy.maxlen, id, 'p', p, 'd', payload)
    end
    keep(key, policy, millis(position), prev)
    prev = p
  else
    -- Without history there is no stream to number the event.
    position = clock()
    prev = '-'
  end
  tell(key, policy, position, announcement(position, prev, payload, event_id, event_type, ttl), hint)
  return position
end

-- publish <payload> [EVENTID id] [TYPE name] [TTL ms]
local function publish(keys, args)
  local policy, wrong = resolve(keys)
  if wrong then return fail(wrong) end
  local payload = args[1]
  wrong = bad_payload(payload)
  if wrong then return fail(wrong) end
  local event_id, event_type, ttl
  for i = 2, #args, 2 do
    local name, value, before = args[i], args[i + 1], nil
    if name ~= 'EVENTID' then name = string.upper(name) end
    if name == 'EVENTID' then before = event_id
    elseif name == 'TYPE' then before = event_type
    elseif name == 'TTL' then before = ttl
    else
      return fail('unknown option "' .. string.sub(args[i], 1, 64) .. '": allowed are EVENTID id, TYPE name, TTL ms')
    end
    if value == nil then return fail(name .. ' needs a value') end
    if before then return fail(name .. ' is given twice') end
    if name == 'TTL' then
      if not good_ttl(value) then
        return fail('TTL is a whole number of milliseconds above 0, but it is "' .. string.sub(value, 1, 64) .. '"')
      end
      ttl = value
    else
      wrong = bad_label(name, value)
      if wrong then return fail(wrong) end
      if name == 'TYPE' then event_type = value else event_id = value end
    end
  end
  if event_type and string.sub(event_type, 1, 8) == 'gateway.' then
    return fail('TYPE must not begin with gateway., which is reserved')
  end
  local key, prev, last, until_ms = keys[1], nil, nil, nil
  local hint
  hint, wrong = hinting(key)
  if wrong then return wrong end
  if policy.size > 0 then
    prev, last = top(key)
    until_ms = carried(last)
    if until_ms and until_ms < time_ms() then until_ms = nil end
  end
  local seen, moving
  if event_id then
    seen = PREFIX .. '.seen:{' .. key .. '}:' .. event_id
    local first
    first, moving, wrong = recall(seen)
    if wrong then return wrong end
    if first then return first end
    if moving or until_ms then
      local now = time_ms()
      first = newest_with(key, now - policy.idempotency, function(fields) return field(fields, 'e') == event_id end)
      if first then return first[1] end
      if moving then until_ms = math.max(until_ms or 0, now + policy.idempotency) end
    end
  end
  local position = put(key, policy, prev, until_ms, payload, event_id, event_type, ttl, nil, hint)
  if seen and not moving then
    call('SET', seen, position, 'PX', policy.window)
  end
  return position
end

-- record <payload> <last> <recorder>
-- Appends a payload that came by plain PUBLISH, unless another recorder did.
-- last is the position of the newest record of this content that the caller
-- has seen, or '' for none. Where the newest record is the caller's own, it
-- cannot have missed another. Returns {1, position}, or {0, newest, recorder}
-- when there is a record that the caller has not seen, and that may be this
-- very message.
local function record(keys, args)
  local policy, wrong = resolve(keys)
  if wrong then return fail(wrong) end
  wrong = bad_payload(args[1])
  if wrong then return fail(wrong) end
  if policy.size == 0 then return fail('"' .. channel_of(keys[1]) .. '" has no history to record in') end
  if not args[2] or not args[3] or args[3] == '' then
    return fail('a record needs <payload> <last> <recorder>')
  end
  local digest = redis.sha1hex(args[1])
  local key = keys[1]
  local seen = PREFIX .. '.plain:{' .. key .. '}:' .. digest
  local prev, last = top(key)
  local until_ms = carried(last)
  if until_ms and until_ms < time_ms() then until_ms = nil end
  local newest, moving
  newest, moving, wrong = recall(seen)
  if wrong then return wrong end
  local position, recorder
  if newest then
    position, recorder = string.match(newest, '^(%S+) (.*)$')
  end
  if moving or until_ms then
    local now = time_ms()
    local entry = newest_with(key, now - PLAIN_WINDOW, function(fields)
      return field(fields, 'r') and field(fields, 'd') == args[1]
    end)
    if entry then position, recorder = entry[1], field(entry[2], 'r') end
    if moving then until_ms = math.max(until_ms or 0, now + PLAIN_WINDOW) end
  end
  if position and position ~= args[2] and recorder ~= args[3] then
    return {0, position, recorder}
  end
  position = put(key, policy, prev, until_ms, args[1], nil, nil, nil, args[3], false)
  if not moving then
    call('SET', seen, position .. ' ' .. args[3], 'PX', PLAIN_WINDOW)
  end
  call('PUBLISH', PREFIX .. '.recorded', position .. ' ' .. args[3] .. ' ' .. digest .. ' ' .. channel_of(key))
  return {1, position}
end

-- open [renew]
-- Returns the channel's last position, creating the stream where there is
-- none, so that also a channel without events has a position to resume from;
-- with renew it is not created. Renews the key's life and trims by age. '-'
-- where there is no history or no stream.
local function open(keys, args)
  local policy, wrong = resolve(keys)
  if wrong then return fail(wrong) end
  if policy.size == 0 then return '-' end
  local key = keys[1]
  local position = top(key)
  if not position and args[1] == 'renew' then return '-' end
  local now = time_ms()
  if position then
    trim_by_age(key, policy, now)
  else
    position = call('XADD', key, clock(), 'g', '')
    call('XDEL', key, position)
  end
  renew(key, policy, math.max(now, millis(position)), now)
  return position
end

-- last
-- Returns the channel's last position, or '-' where there is no stream.
local function last(keys)
  call = redis.call
  if #keys ~= 1 then return fail('exactly one key is needed') end
  return (top(keys[1])) or '-'
end

-- A position further in the future than this is none that Redis gave.
local FUTURE = 24 * 3600 * 1000

-- lost <position> <after> [younger]
-- Records that the stream does not have the events behind after up to position,
-- which were delivered: Redis has lost them. The record is an entry behind all
-- of them, so that no position is given out again and every client crosses it.
-- Any number of replicas may say so, the record is made once. Returns the
-- record's position, or '' where nothing is lost. What is younger than so many
-- milliseconds by this server's clock may have followed the loss also where it
-- lies before after: younger, if above 0, moves after to before it.
local function lost(keys, args)
  local policy, wrong = resolve(keys)
  if wrong then return fail(wrong) end
  local key, position, after = keys[1], args[1] or '', args[2] or ''
  if not parts(position) or not parts(after) or not less(after, position) then
    return fail('a loss is given by two positions: <position> <after>')
  end
  local younger = tonumber(args[3] or '0')
  if not younger then return fail('the age is a number of milliseconds') end
  if policy.size == 0 then return '' end
  local now = time_ms()
  if millis(position) > now + FUTURE then
    return fail('the position ' .. position .. ' is in the future: Redis never gave it')
  end
  if younger > 0 then
    local first = call('XRANGE', key, string.format('%.0f', math.max(0, now - younger)), '+', 'COUNT', 1)[1]
    if first and not less(after, first[1]) then after = field(first[2], 'p') or '0-0' end
  end
  for _, entry in ipairs(call('XRANGE', key, '(' .. position, '+')) do
    local upto, from = field(entry[2], 'l'), field(entry[2], 'f')
    if upto and not less(upto, position) and not less(after, from) then return entry[1] end
  end
  if after ~= '0-0' and call('XRANGE', key, position, position)[1] then return '' end
  local prev, fields = top(key)
  local id = prev and less(position, prev) and prev or position
  local ms, seq = parts(id)
  local entry = clock()
  if not less(id, entry) then entry = string.format('%.0f-%.0f', ms, seq + 1) end
  local add = {'XADD', key, 'MAXLEN', policy.maxlen, entry, 'p', prev or '0-0', 'l', position}
  local until_ms = carried(fields)
  if until_ms and until_ms > now then add[#add + 1] = 'm'; add[#add + 1] = string.format('%.0f', until_ms) end
  add[#add + 1] = 'f'; add[#add + 1] = after
  call(unpack(add))
  renew(key, policy, millis(entry), now)
  call(ANNOUNCE, key, 'lost ' .. entry .. ' ' .. (prev or '0-0') .. ' ' .. position .. ' ' .. after .. '\n')
  return entry
end

-- announce <position>
-- Announces the event at a position, for a publisher that could only leave a
-- hint. Who has the event already drops it, so any number of callers may do so,
-- at any time, and what is no event that publish could have made stays unsaid.
-- Returns 1, or 0 where there is nothing to announce.
local function announce(keys, args)
  local policy, wrong = resolve(keys)
  if wrong then return fail(wrong) end
  if not parts(args[1] or '') then return fail('an event to announce is given by its position') end
  if policy.size == 0 then return 0 end
  local key = keys[1]
  local entry = call('XRANGE', key, args[1], args[1])[1]
  if not entry then return 0 end
  local position, fields = entry[1], entry[2]
  local prev, payload, event_id, event_type, ttl = field(fields, 'p'), field(fields, 'd'), field(fields, 'e'), field(fields, 't'), field(fields, 'x')
  if not prev or not parts(prev) or not less(prev, position) or bad_payload(payload)
    or event_id and bad_label('EVENTID', event_id)
    or event_type and (bad_label('TYPE', event_type) or string.sub(event_type, 1, 8) == 'gateway.')
    or ttl and not good_ttl(ttl) then
    return 0
  end
  call(ANNOUNCE, key, announcement(position, prev, payload, event_id, event_type, ttl))
  call('PUBLISH', PREFIX .. '.recorded', 'announced ' .. position .. ' ' .. channel_of(key))
  return 1
end

-- join <replica> <lease ms> [leave]
-- Renews the replica's lease in the set of live replicas and returns the Redis
-- time in milliseconds and the live ones. Redis' clock is the only one used.
local function join(keys, args)
  call = redis.call
  local now = time_ms()
  if args[3] then
    call('ZREM', keys[1], args[1])
  else
    call('ZADD', keys[1], string.format('%.0f', now + args[2]), args[1])
  end
  call('ZREMRANGEBYSCORE', keys[1], '-inf', string.format('(%.0f', now))
  return {string.format('%.0f', now), unpack(call('ZRANGE', keys[1], 0, -1))}
end

-- Revocations. What a user has lost is one hash, PREFIX.user:<user>. A field
-- '<token>\n<channels>', where either may be empty for all, holds
-- '<at> <until> <reason>': tokens issued up to at have lost it, and at until
-- the last of them has expired by itself. That hash is all there is, so whoever
-- reads it knows; who is there already hears of it on PREFIX.revoked.

local MAX_REVOKED = 1000

-- How far ahead an issuer's clock may be: a token revoked by its id was issued
-- that much later at most.
local SKEW = 600000

local function user_of(keys)
  call = redis.call
  local begin = PREFIX .. '.user:'
  if #keys ~= 1 or string.sub(keys[1], 1, #begin) ~= begin then
    return nil, 'exactly one key is needed, ' .. begin .. '<user>'
  end
  local user = string.sub(keys[1], #begin + 1)
  return user, bad_label('the user', user)
end

local function bad_pattern(pattern)
  if #pattern < 1 or #pattern > 255 or string.find(pattern, '[^A-Za-z0-9._~@/+=:*-]') or string.find(':' .. pattern .. ':', '::', 1, true) then
    return 'CHANNEL is a channel, or a pattern such as project:42:**, in segments of A-Z a-z 0-9 . _ ~ @ / + = - parted by a colon'
  end
  local segments = {}
  for segment in string.gmatch(pattern, '[^:]+') do segments[#segments + 1] = segment end
  for i, segment in ipairs(segments) do
    if string.find(segment, '*', 1, true) and segment ~= '*' and not (segment == '**' and i == #segments) then
      return 'CHANNEL has * only as a whole segment, and ** only as the last'
    end
  end
end

-- disconnect [CHANNEL name] [TOKEN jti] [REASON text] [TTL ms] [AT ms]
-- Takes a user's rights back: all of them, those of one token, or those to some
-- channels. TTL is how long that has to hold, which is how long the tokens
-- concerned live. Replicas put back by AT what Redis has lost. Returns the time
-- up to which tokens are concerned, in milliseconds.
local function disconnect(keys, args)
  local user, wrong = user_of(keys)
  if wrong then return fail(wrong) end
  local given = {}
  for i = 1, #args, 2 do
    local name, value = string.upper(args[i]), args[i + 1]
    if name ~= 'CHANNEL' and name ~= 'TOKEN' and name ~= 'REASON' and name ~= 'TTL' and name ~= 'AT' then
      return fail('unknown option "' .. string.sub(args[i], 1, 64) .. '": allowed are CHANNEL name, TOKEN jti, REASON text, TTL ms')
    end
    if value == nil then return fail(name .. ' needs a value') end
    if given[name] then return fail(name .. ' is given twice') end
    if name == 'CHANNEL' then
      wrong = bad_pattern(value)
    elseif name == 'TTL' or name == 'AT' then
      if not string.find(value, '^[1-9]%d*$') or #value > 15 then
        wrong = name .. ' is a whole number of milliseconds above 0, but it is "' .. string.sub(value, 1, 64) .. '"'
      end
    else
      wrong = bad_label(name, value)
    end
    if wrong then return fail(wrong) end
    given[name] = value
  end
  local now = time_ms()
  local at = math.min(tonumber(given.AT or now), now)
  local reach = at + tonumber(given.TTL or REVOCATION_LIFE)
  local text = given.REASON or ''
  local name = (given.TOKEN or '') .. '\n' .. (given.CHANNEL or '')
  if reach <= now then return string.format('%.0f', at) end
  -- What was put there by hand and cannot be read holds for nobody here, but
  -- gateways refuse the user for it until all is revoked.
  local function read(value)
    local a, u, why = string.match(value, '^(%d+) (%d+) (.*)$')
    return tonumber(a or 0), tonumber(u or 0), why
  end
  local before = call('HGET', keys[1], name)
  if before then
    local a, u, why = read(before)
    if why and a > at then at, text = a, why end
    reach = math.max(reach, u)
  end
  local count, furthest, over = 0, reach, {}
  local all = call('HGETALL', keys[1])
  for i = 1, #all, 2 do
    local a, u, readable = read(all[i + 1])
    if all[i] == name then
    elseif readable and u <= now or name == '\n' and u <= reach and a <= at - (string.sub(all[i], 1, 1) == '\n' and 0 or SKEW) then
      over[#over + 1] = all[i] -- has ended, or is part of this one
    else
      count, furthest = count + 1, math.max(furthest, u)
    end
  end
  if count >= MAX_REVOKED and name ~= '\n' then
    return fail('the user has ' .. count .. ' revocations already: disconnect the user as a whole, without CHANNEL and TOKEN')
  end
  for i = 1, #over do call('HDEL', keys[1], over[i]) end
  local when = string.format('%.0f %.0f', at, reach)
  call('HSET', keys[1], name, when .. ' ' .. text)
  call('PEXPIRE', keys[1], string.format('%.0f', furthest - now))
  call('PUBLISH', PREFIX .. '.revoked', when .. '\n' .. user .. '\n' .. name .. '\n' .. text)
  return string.format('%.0f', at)
end
