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

use super::{
    MANAGER, Shared, Stood,
    own::{own_fields, strays},
};
use crate::{controller::cluster::unanswered, crd::TofuStateBackend, registry::ResourceName};

/// How long a call may take; a frozen API server is noticed after it.
const CALL: Duration = Duration::from_secs(10);

/// What came of it.
pub(super) enum Patched {
    /// It stands there now, in this resourceVersion.
    Shown(String),
    /// The resource is another than the one that was seen.
    Stale,
    /// There is none.
    Gone,
    /// It is not taken as it is.
    Refused(String),
    /// The API server does not answer, or lets nobody in: the same for every resource.
    Away(String),
}

/// Writes the own fields into the status, of this resourceVersion. Not forced, so that a field which somebody else wrote
/// into is noticed, and told; then forced, since the fields are this manager's.
pub(super) async fn patch(shared: &Shared, name: &ResourceName, version: &str, wanted: &Value) -> Patched {
    let api = api(shared, name);
    let body = json!({
        "apiVersion": TofuStateBackend::api_version(&()),
        "kind": TofuStateBackend::kind(&()),
        "metadata": {"name": name.name, "resourceVersion": version},
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
    let found = answer.as_ref().ok().and_then(|object| {
        let strays = strays(&own_fields(object.data["status"].clone()), wanted)?;
        Some((object.metadata.resource_version.clone(), strays))
    });
    if let Some((version, strays)) = found {
        warn!(resource = %name, fields = %strays, "somebody wrote into the status what only tofustate knows: it is taken away");
        let body = json!({"metadata": {"resourceVersion": version}, "status": strays});
        let params = PatchParams { force: false, ..params.clone() };
        answer = call(api.patch_status(&name.name, &params, &Patch::Merge(&body))).await;
    }
    let (patched, outcome) = match answer {
        Ok(object) => {
            let version = object.metadata.resource_version.unwrap_or_default();
            (Patched::Shown(version), if params.force { "forced" } else { "applied" })
        }
        Err(Failed::Stale) => (Patched::Stale, "stale"),
        Err(Failed::Gone) => (Patched::Gone, "gone"),
        Err(Failed::Refused(said) | Failed::Conflict(said)) => (Patched::Refused(said), "refused"),
        Err(Failed::Away(said)) => (Patched::Away(said), "failed"),
    };
    shared.metrics.patched(outcome);
    patched
}

/// The resource as it is now; `None` where there is none.
///
/// # Errors
/// Why the API server cannot be asked.
pub(super) async fn look(shared: &Shared, name: &ResourceName, restored: u64) -> Result<Option<Stood>, String> {
    match call(api(shared, name).get(&name.name)).await {
        Ok(object) => Ok(Some(Stood::of(&object.metadata, &own_fields(object.data["status"].clone()), restored))),
        Err(Failed::Gone) => Ok(None),
        Err(Failed::Stale) => Err("a conflict".to_owned()),
        Err(Failed::Refused(said) | Failed::Conflict(said) | Failed::Away(said)) => Err(said),
    }
}

fn api(shared: &Shared, name: &ResourceName) -> Api<DynamicObject> {
    let kind = ApiResource::erase::<TofuStateBackend>(&());
    Api::namespaced_with(shared.client.clone(), &name.namespace, &kind)
}

enum Failed {
    Gone,
    Stale,
    /// Other managers have fields of it.
    Conflict(String),
    Refused(String),
    Away(String),
}

async fn call(work: impl Future<Output = Result<DynamicObject, Error>>) -> Result<DynamicObject, Failed> {
    match timeout(CALL, work).await {
        Ok(Ok(object)) => Ok(object),
        Ok(Err(Error::Api(status))) => Err(failed(&status)),
        Ok(Err(error)) => Err(Failed::Away(unanswered(&error))),
        Err(_) => Err(Failed::Away(format!("the API server did not answer within {CALL:?}"))),
    }
}

fn failed(status: &Status) -> Failed {
    let said = status.message.clone();
    let mut causes = status.details.iter().flat_map(|details| &details.causes);
    match status.code {
        404 => Failed::Gone,
        409 if causes.any(|cause| cause.reason == "FieldManagerConflict") => Failed::Conflict(said),
        409 => Failed::Stale,
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
            Failed::Stale => "stale",
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
            (json!({"code": 409, "reason": "Conflict"}), "stale"),
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
