//! What can be read of a resource that does not decode: enough to answer for its path, and to end it.

use kube::{
    api::DynamicObject,
    core::{ObjectMeta, error_boundary::InvalidObject},
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{
    cluster::call,
    context::{Context, Fault},
};
use crate::crd::{TofuStateBackend, TofuStateBackendSpec};

/// What is wrong with it. The text may repeat a value, and a credential may stand in a wrong place: it ends before.
pub(super) fn fault(invalid: &InvalidObject) -> String {
    invalid.error.split(['`', '"']).next().unwrap_or_default().trim_end().to_owned()
}

/// Reads a resource by its name; `None` where it is not there any more, or is another.
pub(super) async fn read(context: &Context, of: &ObjectMeta) -> Result<Option<TofuStateBackend>, Fault> {
    let (namespace, name) = (of.namespace.as_deref().unwrap_or_default(), of.name.as_deref().unwrap_or_default());
    let found = call(&format!("reading {namespace}/{name}"), context.cluster.raw(namespace).get_opt(name)).await?;
    Ok(found.filter(|found| found.metadata.uid == of.uid).map(salvage))
}

/// The fields that decode, the others by their defaults. Without a path that can be read it has none: an empty one.
fn salvage(found: DynamicObject) -> TofuStateBackend {
    let path = found.data["spec"]["path"].as_str().unwrap_or_default();
    let begin = Map::from_iter([("path".to_owned(), Value::from(path))]);
    let spec = fields(begin, &found.data["spec"]).unwrap_or_else(|| TofuStateBackendSpec::new(path));
    let name = found.metadata.name.clone().unwrap_or_default();
    let mut resource = TofuStateBackend::new(&name, spec);
    resource.status = fields(Map::new(), &found.data["status"]);
    resource.metadata = found.metadata;
    resource
}

/// Takes over each field with which it still decodes.
fn fields<T: DeserializeOwned>(mut begin: Map<String, Value>, found: &Value) -> Option<T> {
    for (name, value) in found.as_object()? {
        let mut more = begin.clone();
        more.insert(name.clone(), value.clone());
        if T::deserialize(&Value::Object(more.clone())).is_ok() {
            begin = more;
        }
    }
    T::deserialize(&Value::Object(begin)).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(object: Value) -> TofuStateBackend {
        salvage(serde_json::from_value(object).unwrap())
    }

    #[test]
    fn what_decodes_is_kept_and_what_does_not_is_by_default() {
        let found = of(json!({
            "apiVersion": "tofustate.io/v1alpha1", "kind": "TofuStateBackend",
            "metadata": {"name": "app", "namespace": "team", "uid": "1"},
            "spec": {
                "path": "team/app", "suspend": "hunter2", "connectionSecretName": "state", "maxSize": {"a": 1},
                "retention": {"deletionPolicy": "Delete"},
            },
            "status": {"headEpoch": "e", "headRevision": "many", "locked": true},
        }));
        let mut spec = TofuStateBackendSpec::new("team/app");
        spec.connection_secret_name = Some("state".to_owned());
        spec.retention.deletion_policy = crate::crd::DeletionPolicy::Delete;
        assert_eq!(found.spec, spec);
        let status = found.status.unwrap();
        assert_eq!((status.head_epoch.as_deref(), status.head_revision, status.locked), (Some("e"), None, Some(true)));
        assert_eq!(found.metadata.uid.as_deref(), Some("1"));
    }

    #[test]
    fn without_a_path_it_has_none() {
        for spec in [json!({"path": 7, "suspend": true}), json!({}), json!("x"), Value::Null] {
            let object = json!({"apiVersion": "v", "kind": "k", "metadata": {"name": "app"}, "spec": spec});
            let found = of(object);
            assert!(found.spec.path.is_empty() && found.status.is_none(), "{found:?}");
            assert!(found.settings().is_err());
        }
    }
}
