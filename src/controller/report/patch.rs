//! The patch of a status, and what its answer means.

use std::time::Duration;

use kube::{
    Api, Error, Resource as _,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    core::Status,
};
use serde_json::{Value, json};
use tokio::time::timeout;
use tracing::warn;

use super::{MANAGER, Shared, own::own_fields, strays};
use crate::{crd::TofuStateBackend, registry::ResourceName};

/// How long a call may take; a frozen API server is noticed after it.
const CALL: Duration = Duration::from_secs(10);

/// What came of it.
pub(super) enum Patched {
    /// It stands there now.
    Shown,
    /// The resource is gone, or another one has its name.
    Gone,
    /// It is not taken as it is: the status there may be a later one.
    Refused(String),
    /// The API server does not answer, or lets nobody in: the same for every resource.
    Away(String),
}

/// Writes the own fields into the status. Not forced, so that a field which somebody else wrote into is noticed, and told;
/// then forced, since the fields are this manager's.
pub(super) async fn patch(shared: &Shared, name: &ResourceName, uid: &str, wanted: &Value) -> Patched {
    let kind = ApiResource::erase::<TofuStateBackend>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(shared.client.clone(), &name.namespace, &kind);
    let body = json!({
        "apiVersion": TofuStateBackend::api_version(&()),
        "kind": TofuStateBackend::kind(&()),
        "metadata": {"name": name.name, "uid": uid},
        "status": wanted,
    });
    let mut params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let mut answer = call(api.patch_status(&name.name, &params, &Patch::Apply(&body))).await;
    if let Err(Failed::Conflict(said)) = &answer {
        warn!(resource = %name, said, "somebody wrote into the status what only tofustate knows: it is put right");
        params.force = true;
        answer = call(api.patch_status(&name.name, &params, &Patch::Apply(&body))).await;
    }
    // Server-side apply leaves what others wrote where this manager has nothing to say.
    let found = answer.as_ref().ok().and_then(|object| strays(&own_fields(object.data["status"].clone()), wanted));
    if let Some(strays) = found {
        warn!(resource = %name, fields = %strays, "somebody wrote into the status what only tofustate knows: it is taken away");
        let body = json!({"metadata": {"uid": uid}, "status": strays});
        params.force = false;
        answer = call(api.patch_status(&name.name, &params, &Patch::Merge(&body))).await;
    }
    let (patched, outcome) = match answer {
        Ok(_) => (Patched::Shown, if params.force { "forced" } else { "applied" }),
        Err(Failed::Gone) => (Patched::Gone, "gone"),
        Err(Failed::Refused(said) | Failed::Conflict(said)) => (Patched::Refused(said), "refused"),
        Err(Failed::Away(said)) => (Patched::Away(said), "failed"),
    };
    shared.metrics.patched(outcome);
    patched
}

enum Failed {
    Gone,
    /// Other managers have fields of it.
    Conflict(String),
    Refused(String),
    Away(String),
}

async fn call(work: impl Future<Output = Result<DynamicObject, Error>>) -> Result<DynamicObject, Failed> {
    match timeout(CALL, work).await {
        Ok(Ok(object)) => Ok(object),
        Ok(Err(Error::Api(status))) => Err(failed(&status)),
        Ok(Err(error)) => Err(Failed::Away(error.to_string())),
        Err(_) => Err(Failed::Away(format!("the API server did not answer within {CALL:?}"))),
    }
}

fn failed(status: &Status) -> Failed {
    let said = status.message.clone();
    let mut causes = status.details.iter().flat_map(|details| &details.causes);
    match status.code {
        404 => Failed::Gone,
        409 if causes.any(|cause| cause.reason == "FieldManagerConflict") => Failed::Conflict(said),
        // Another uid.
        409 => Failed::Gone,
        401 | 403 | 429 => Failed::Away(said),
        500.. => Failed::Away(said),
        _ => Failed::Refused(said),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(status: &Value) -> &'static str {
        match failed(&serde_json::from_value(status.clone()).unwrap()) {
            Failed::Gone => "gone",
            Failed::Conflict(_) => "conflict",
            Failed::Refused(_) => "refused",
            Failed::Away(_) => "away",
        }
    }

    #[test]
    fn what_an_answer_means() {
        let cause = json!([{"reason": "FieldManagerConflict", "field": ".status.locked", "message": "m"}]);
        for (status, meant) in [
            (json!({"code": 404, "reason": "NotFound"}), "gone"),
            (json!({"code": 409, "reason": "Conflict"}), "gone"),
            (json!({"code": 409, "reason": "Conflict", "details": {"causes": cause}}), "conflict"),
            (json!({"code": 422, "reason": "Invalid"}), "refused"),
            (json!({"code": 400}), "refused"),
            (json!({"code": 401}), "away"),
            (json!({"code": 403}), "away"),
            (json!({"code": 429}), "away"),
            (json!({"code": 500}), "away"),
            (json!({"code": 503}), "away"),
        ] {
            assert_eq!(kind(&status), meant, "{status}");
        }
    }
}
