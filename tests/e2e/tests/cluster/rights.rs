//! What the operator may do and what it may not, and what its users' roles give.

use serde_json::Value;
use tofustate_e2e::kube::{Cluster, OPERATOR_ACCOUNT, OPERATOR_NAMESPACE};

use crate::world::installed;

/// Verbs, group, resource, namespace ("": all of them).
type Right<'a> = (&'a [&'a str], &'a str, &'a str, &'a str);

fn check(cluster: &Cluster, account: (&str, &str), wanted: bool, rights: &[Right<'_>]) {
    for (verbs, group, resource, namespace) in rights {
        for verb in *verbs {
            let found = cluster.may(account, verb, group, resource, namespace);
            assert_eq!(found, wanted, "{account:?}: {verb} {resource}.{group} in {namespace:?}");
        }
    }
}

const OURS: &str = "tofustate.io";

#[test]
fn the_operator_may_do_its_work_and_nothing_else() {
    let Some(cluster) = installed("the_operator_may_do_its_work_and_nothing_else") else { return };
    let operator = (OPERATOR_NAMESPACE, OPERATOR_ACCOUNT);
    check(
        &cluster,
        operator,
        true,
        &[
            (&["get", "list", "watch", "patch"], OURS, "tofustates", ""),
            (&["patch"], OURS, "tofustates/status", ""),
            (&["get", "list", "watch", "create", "patch", "delete"], "", "secrets", ""),
            (&["get", "list", "watch", "create", "patch", "delete"], "", "configmaps", ""),
            (&["list", "watch"], "", "namespaces", ""),
            (&["create"], "events.k8s.io", "events", ""),
            (&["get", "list", "create", "update", "delete"], "", "secrets", OPERATOR_NAMESPACE),
        ],
    );
    check(
        &cluster,
        operator,
        false,
        &[
            (&["create", "update", "delete", "deletecollection", "forceunlock", "rollback"], OURS, "tofustates", ""),
            (&["update", "get"], OURS, "tofustates/status", ""),
            (&["update"], OURS, "tofustates/finalizers", ""),
            (&["update", "deletecollection"], "", "secrets", ""),
            (&["update", "deletecollection"], "", "configmaps", ""),
            (&["get", "create", "update", "patch", "delete"], "", "namespaces", ""),
            (&["get", "patch", "delete"], "events.k8s.io", "events", ""),
            (&["get", "list", "create", "delete"], "", "pods", ""),
            (&["create"], "", "pods/exec", ""),
            (&["create"], "", "serviceaccounts/token", ""),
            (&["impersonate"], "", "users", ""),
            (&["create", "patch", "bind", "escalate"], "rbac.authorization.k8s.io", "clusterroles", ""),
            (&["create", "patch"], "rbac.authorization.k8s.io", "rolebindings", ""),
            (&["patch", "delete"], "admissionregistration.k8s.io", "validatingadmissionpolicies", ""),
            (&["get", "patch"], "apiextensions.k8s.io", "customresourcedefinitions", ""),
            (&["create"], "authentication.k8s.io", "tokenreviews", ""),
        ],
    );
}

#[test]
fn users_see_change_and_break_locks_by_three_roles() {
    let Some(cluster) = installed("users_see_change_and_break_locks_by_three_roles") else { return };
    let namespace = cluster.namespace("roles");
    let (see, change, unlock): (&[&str], &[&str], &[&str]) = (
        &["get", "list", "watch"],
        &["create", "update", "patch", "delete", "deletecollection"],
        &["forceunlock", "rollback"],
    );
    for (role, may_see, may_change, may_unlock) in [
        ("tofustate-view", true, false, false),
        ("tofustate-edit", true, true, false),
        ("tofustate-unlock", false, false, true),
    ] {
        cluster.service_account(&namespace, role);
        cluster.bind(role, &namespace, role);
        tofustate_e2e::wait::until("the role is bound", || {
            let verb = if may_see { "get" } else { "rollback" };
            if cluster.may((&namespace, role), verb, OURS, "tofustates", &namespace) {
                Ok(())
            } else {
                Err(role.to_owned())
            }
        });
        for (verbs, wanted) in [(see, may_see), (change, may_change), (unlock, may_unlock)] {
            check(&cluster, (&namespace, role), wanted, &[(verbs, OURS, "tofustates", &namespace)]);
        }
        check(
            &cluster,
            (&namespace, role),
            false,
            &[(&["get", "patch"], OURS, "tofustates/status", &namespace), (see, "", "secrets", &namespace)],
        );
        let found: Value =
            cluster.api().get(&format!("/apis/rbac.authorization.k8s.io/v1/clusterroles/{role}")).unwrap();
        let to = ["view", "edit", "admin"]
            .map(|to| found["metadata"]["labels"][format!("rbac.authorization.k8s.io/aggregate-to-{to}")] == "true");
        assert_eq!(to, [role.ends_with("view"), role.ends_with("edit"), role.ends_with("unlock")]);
    }
}
