-- The health of a TofuStateBackend. A lock that is held changes nothing of it.
local health = {status = "Progressing", message = "Waiting for tofustate"}
local status = obj.status or {}
if obj.metadata.deletionTimestamp ~= nil then
  health.message = "Being deleted"
end
local ready = nil
for _, condition in ipairs(status.conditions or {}) do
  if condition.type == "Stalled" and condition.status == "True" then
    -- Somebody has to do something: the message says what. While it is being deleted, too.
    return {status = "Degraded", message = condition.message}
  end
  if condition.type == "Ready" then
    ready = condition
  end
end
if obj.metadata.deletionTimestamp ~= nil or status.observedGeneration ~= obj.metadata.generation or ready == nil then
  return health
end
health.message = ready.message
if ready.status == "True" then
  if obj.spec.suspend then
    health.status = "Suspended"
  else
    health.status = "Healthy"
  end
end
return health
