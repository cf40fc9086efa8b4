-- Stores the newest row of one entity, unless the stored one is newer.
--
-- KEYS[1]  the entity's hash
-- ARGV[1]  n, the number of event times
-- then     n event times in microseconds, ascending: those of the rows that would be written one
--          after another; the last is that of the values below
-- then     m, the number of fields that have a value
-- then     m pairs of field and value
-- then     the fields that are null
--
-- Returns how many of the n times are not older than the stored one. If it is 0, nothing was changed.

-- Times are compared as texts, since Lua's numbers are exact only up to the year 2255.
local function earlier(a, b)
    local a_before, b_before = a:sub(1, 1) == '-', b:sub(1, 1) == '-'
    if a_before ~= b_before then return a_before end
    if #a ~= #b then return (#a < #b) ~= a_before end
    if a_before then return a > b end
    return a < b
end

local times = tonumber(ARGV[1])
local stored = redis.call('HGET', KEYS[1], '__event_time')
local written = 0
for at = 2, 1 + times do
    if not (stored and earlier(ARGV[at], stored)) then written = written + 1 end
end
if written == 0 then return 0 end

-- In pieces: a call may have only a few thousand arguments.
local function in_pieces(command, first, last)
    for from = first, last, 1000 do
        redis.call(command, KEYS[1], unpack(ARGV, from, math.min(from + 999, last)))
    end
end

local values = 3 + times
local nulls = values + 2 * tonumber(ARGV[values - 1])
redis.call('HSET', KEYS[1], '__event_time', ARGV[1 + times])
in_pieces('HSET', values, nulls - 1)
in_pieces('HDEL', nulls, #ARGV)
return written
