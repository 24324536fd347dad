//! Whether a resource may have what it asks for, as far as it and its namespace tell. Pure.

use std::collections::BTreeMap;

use crate::{
    crd::{
        Settings, StatePath, TofuStateBackend,
        annotations::{ADOPT, PATH_PREFIXES},
        conditions::reason,
    },
    registry::Tenancy,
};

/// Why a resource cannot have its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAllowed {
    /// One word for machines.
    pub reason: &'static str,
    /// What to do.
    pub message: String,
}

/// The annotations of an object.
pub type Annotations = BTreeMap<String, String>;

/// The settings of a resource that may have its path. `namespace`: the annotations of its Namespace object.
///
/// # Errors
/// The spec does not hold together, or the namespace may not register the path.
pub fn validate(
    resource: &TofuStateBackend,
    namespace: Option<&Annotations>,
    tenancy: Tenancy,
) -> Result<Settings, NotAllowed> {
    let settings = resource
        .settings()
        .map_err(|invalid| NotAllowed { reason: reason::INVALID_SPEC, message: invalid.to_string() })?;
    let name = resource.metadata.namespace.as_deref().unwrap_or_default();
    let prefixes = namespace.and_then(|found| found.get(PATH_PREFIXES)).map(String::as_str);
    tenancy
        .allows(name, prefixes, &settings.path)
        .map_err(|message| NotAllowed { reason: reason::PATH_NOT_ALLOWED, message })?;
    Ok(settings)
}

/// Whether the Namespace lets its resources take over what a path holds.
#[must_use]
pub fn adopts(namespace: Option<&Annotations>, path: &StatePath) -> bool {
    namespace.and_then(|found| found.get(ADOPT)).is_some_and(|adopt| adopt.trim() == path.as_str())
}

/// The older of the resources that want the same path: by age, then by uid. Only a path that is nobody's goes by that.
#[must_use]
pub fn older<'a>(
    resource: &TofuStateBackend,
    others: impl IntoIterator<Item = &'a TofuStateBackend>,
) -> Option<&'a TofuStateBackend> {
    let age =
        |of: &TofuStateBackend| (of.metadata.creation_timestamp.clone().map(|time| time.0), of.metadata.uid.clone());
    let rivals = others.into_iter().filter(|other| {
        other.metadata.uid != resource.metadata.uid
            && other.spec.path == resource.spec.path
            && other.metadata.deletion_timestamp.is_none()
            && !other.spec.suspend
    });
    rivals.filter(|other| age(other) < age(resource)).min_by_key(|other| age(other))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;
    use crate::crd::TofuStateBackendSpec;

    fn resource(name: &str, path: &str, age: i64) -> TofuStateBackend {
        let mut resource = TofuStateBackend::new(name, TofuStateBackendSpec::new(path));
        resource.metadata.namespace = Some("team".to_owned());
        resource.metadata.uid = Some(format!("uid-{name}"));
        resource.metadata.creation_timestamp = Some(Time(jiff::Timestamp::from_second(age).unwrap()));
        resource
    }

    #[test]
    fn the_namespace_decides_by_what_its_object_says() {
        let wanted = resource("a", "shared/net", 1);
        assert_eq!(validate(&wanted, None, Tenancy::Namespace).unwrap_err().reason, reason::PATH_NOT_ALLOWED);
        let says = Annotations::from([(PATH_PREFIXES.to_owned(), "shared/".to_owned())]);
        assert_eq!(validate(&wanted, Some(&says), Tenancy::Annotation).unwrap().path.as_str(), "shared/net");
        let mut wrong = wanted.clone();
        wrong.spec.max_size = "lots".to_owned();
        let refused = validate(&wrong, Some(&says), Tenancy::Annotation).unwrap_err();
        assert!(refused.reason == reason::INVALID_SPEC && refused.message.contains("spec.maxSize"), "{refused:?}");
        let path = StatePath::parse("shared/net").unwrap();
        let adopts_it = |value: &str| adopts(Some(&Annotations::from([(ADOPT.to_owned(), value.to_owned())])), &path);
        assert!(adopts_it(" shared/net ") && !adopts_it("shared") && !adopts(None, &path));
    }

    #[test]
    fn age_then_uid_decides_among_those_that_may_have_the_path() {
        let (a, b, c) = (resource("a", "team/x", 5), resource("b", "team/x", 5), resource("c", "team/x", 4));
        let other = resource("d", "team/y", 1);
        let mut going = resource("e", "team/x", 1);
        going.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
        let mut waits = resource("f", "team/x", 1);
        waits.spec.suspend = true;
        let all = [a.clone(), b.clone(), c.clone(), other, going, waits];
        let name = |of: &TofuStateBackend| older(of, &all).and_then(|found| found.metadata.name.clone());
        assert_eq!((name(&a), name(&b), name(&c)), (Some("c".to_owned()), Some("c".to_owned()), None));
        assert_eq!(older(&b, &[a.clone(), b.clone()]).map(|found| &found.metadata.name), Some(&a.metadata.name));
    }
}
