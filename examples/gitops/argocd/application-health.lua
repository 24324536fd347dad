-- The health of an Application, for waves of Applications: without it Argo CD goes on to the next wave at once.
local status = obj.status or {}
local health = status.health or {}
return {status = health.status or "Progressing", message = health.message or "Waiting for its first sync"}
