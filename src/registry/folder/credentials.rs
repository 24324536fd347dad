//! Who may use a path: the tokens that a manifest names, from the Secrets of its namespace. Pure.

use std::ffi::OsStr;

use super::{
    manifest::BackendManifest,
    report::{Kind, Place, Problem, Reason},
    resolve::Goods,
    secret::{SecretManifest, check},
};
use crate::crd::{AccessRole, SecretKeyRef};
use crate::registry::{Credential, CredentialHash, Redacted, ResourceName, Role, identity};

/// As who the holder of the main token is recorded.
const TOKEN: &str = "token";
/// And who has the token of all states.
const API_TOKEN: &str = "api-token";

/// The credentials of a resource; `None` where neither its own token nor the `shared` one of all states is there: then it
/// is not served. A further one that is not there is left out. `generated`: the token of a resource that names no Secret.
pub(super) fn credentials(
    name: &ResourceName,
    place: &Place,
    manifest: &BackendManifest,
    generated: Option<CredentialHash>,
    shared: Option<CredentialHash>,
    secrets: &Goods<SecretManifest>,
    problems: &mut Vec<Problem>,
) -> Option<Vec<Credential>> {
    let spec = &manifest.resource.spec;
    let mut look = |reference: &SecretKeyRef, field: &str, without: &str| {
        let problem = |problem: Problem| problem.at(place).of(Kind::TofuStateBackend, name).field(field);
        match find(&name.namespace, reference, secrets) {
            Ok((token, notes)) => {
                problems.extend(notes.into_iter().map(problem));
                Some(CredentialHash::of(token.expose()))
            }
            Err(mut refused) => {
                refused.message += without;
                problems.push(problem(refused));
                None
            }
        }
    };
    let main = match &spec.access_token_secret_ref {
        None => generated,
        Some(reference) => {
            let without = match shared {
                None => "; the path is not served until then",
                Some(_) => "; only the API token is taken until then",
            };
            look(reference, "spec.accessTokenSecretRef", without)
        }
    };
    let access: Vec<_> = spec
        .access
        .iter()
        .enumerate()
        .map(|(n, access)| {
            let field = format!("spec.access[{n}].secretRef");
            let hash = look(&access.secret_ref, &field, "; this credential is refused until then");
            (field, access, hash)
        })
        .collect();
    let owner = |identity: &str, hash| Credential { identity: identity.to_owned(), role: Role::ReadWrite, hash };
    let mut credentials: Vec<_> = main.map(|hash| owner(TOKEN, hash)).into_iter().collect();
    credentials.extend(shared.map(|hash| owner(API_TOKEN, hash)));
    if credentials.is_empty() {
        return None;
    }
    for (field, access, hash) in access {
        let Some(hash) = hash else { continue };
        if let Some(same) = credentials.iter().find(|credential| credential.hash.matches(&hash)) {
            let message = format!(
                "this is the token of {} too, so who uses it could not be told: {} is refused; give each a token of its own",
                same.identity,
                identity(&access.name)
            );
            let problem = Problem::error(Reason::SameToken, message);
            problems.push(problem.at(place).of(Kind::TofuStateBackend, name).field(field));
            continue;
        }
        let role = match access.role {
            AccessRole::ReadOnly => Role::ReadOnly,
            AccessRole::ReadWrite => Role::ReadWrite,
        };
        credentials.push(Credential { identity: identity(&access.name), role, hash });
    }
    Some(credentials)
}

/// What stands in `API_TOKEN` is no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("API_TOKEN: {0}")]
pub struct BadApiToken(String);

/// The token of all states, for [`FolderOptions::api_token`](super::FolderOptions::api_token), and warnings about it.
///
/// # Errors
/// It is empty, or no text of one line.
pub fn api_token(text: &OsStr) -> Result<(CredentialHash, Vec<String>), BadApiToken> {
    let (token, notes) = check(text.as_encoded_bytes(), "API_TOKEN").map_err(|problem| BadApiToken(problem.message))?;
    Ok((CredentialHash::of(token.expose()), notes.into_iter().map(|note| note.message).collect()))
}

fn find(
    namespace: &str,
    reference: &SecretKeyRef,
    secrets: &Goods<SecretManifest>,
) -> Result<(Redacted<String>, Vec<Problem>), Problem> {
    let name = ResourceName { namespace: namespace.to_owned(), name: reference.name.clone() };
    let secret = secrets.get(&name).ok_or_else(|| {
        let message = format!("the Secret {name} is not in the folder: add it, in the same namespace");
        Problem::error(Reason::SecretNotFound, message)
    })?;
    let about = |mut problem: Problem| {
        problem.message = format!("Secret {name} ({}): {}", secret.place, problem.message);
        problem
    };
    let (token, notes) = secret.content.token(&reference.key).map_err(about)?;
    Ok((token, notes.into_iter().map(about).collect()))
}

/// Whether two lists admit the same people as the same.
pub(super) fn same(a: &[Credential], b: &[Credential]) -> bool {
    a.len() == b.len()
        && a.iter().zip(b).all(|(a, b)| a.identity == b.identity && a.role == b.role && a.hash.matches(&b.hash))
}

#[cfg(test)]
mod tests {
    use super::{super::manifest::FileContent, super::resolve::Good, super::yaml, *};

    fn run(spec: &str, secrets: &str) -> (Option<Vec<(String, Role)>>, Vec<Problem>) {
        run_with(Some("generated"), None, spec, secrets)
    }

    fn run_with(
        generated: Option<&str>,
        shared: Option<&str>,
        spec: &str,
        secrets: &str,
    ) -> (Option<Vec<(String, Role)>>, Vec<Problem>) {
        let text = format!(
            "apiVersion: tofustate.io/v1alpha1\nkind: TofuStateBackend\nmetadata: {{name: net}}\nspec: {{path: default/net, {spec}}}\n"
        );
        let content = FileContent::read(&Place::file("f".as_ref()), yaml::documents(&text));
        let item = &content.backends[0];
        let mut goods = Goods::new();
        for secret in FileContent::read(&Place::file("s".as_ref()), yaml::documents(secrets)).secrets {
            goods.insert(secret.name, Good { place: secret.place, content: secret.content.unwrap() });
        }
        let mut problems = Vec::new();
        let (generated, shared) = (generated.map(CredentialHash::of), shared.map(CredentialHash::of));
        let found = credentials(
            &item.name,
            &item.place,
            item.content.as_ref().unwrap(),
            generated,
            shared,
            &goods,
            &mut problems,
        );
        (found.map(|found| found.into_iter().map(|one| (one.identity, one.role)).collect()), problems)
    }

    fn secret(namespace: &str, values: &str) -> String {
        format!(
            "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: s, namespace: {namespace}}}\nstringData: {{{values}}}\n"
        )
    }

    #[test]
    fn the_own_token_decides_whether_a_path_is_served() {
        let token = ("token".to_owned(), Role::ReadWrite);
        assert_eq!(run("", "").0, Some(vec![token.clone()]));
        let named = "accessTokenSecretRef: {name: s}";
        let long = "token: '01234567890123456789'";
        assert_eq!(run(named, &secret("default", long)), (Some(vec![token]), vec![]));
        for (secrets, reason) in [
            (String::new(), Reason::SecretNotFound),
            (secret("other", long), Reason::SecretNotFound),
            (secret("default", "other: x"), Reason::SecretKeyNotFound),
            (secret("default", "token: ''"), Reason::SecretKeyNotFound),
            (secret("default", "token: \"a\\nb\""), Reason::InvalidToken),
        ] {
            let (found, problems) = run(named, &secrets);
            assert!(found.is_none(), "{secrets}");
            assert_eq!((problems.len(), problems[0].reason), (1, reason), "{problems:?}");
            assert!(problems[0].message.contains("not served until then"), "{problems:?}");
        }
        let (found, problems) = run(named, &secret("default", "token: hunter2"));
        assert!(found.is_some() && problems[0].reason == Reason::WeakToken);
        assert!(!problems[0].to_string().contains("hunter2"));
    }

    #[test]
    fn a_token_of_all_states_is_taken_for_each() {
        let one = |identity: &str| (identity.to_owned(), Role::ReadWrite);
        let named = "accessTokenSecretRef: {name: s}";
        let there = secret("default", "token: '01234567890123456789'");
        assert_eq!(run_with(None, Some("all"), "", "").0, Some(vec![one("api-token")]));
        assert_eq!(run_with(None, Some("all"), named, &there), (Some(vec![one("token"), one("api-token")]), vec![]));
        let (found, problems) = run_with(None, Some("all"), named, "");
        assert_eq!(found, Some(vec![one("api-token")]));
        assert!(problems[0].message.contains("only the API token"), "{problems:?}");
        assert_eq!(run_with(None, None, "", "").0, None);
    }

    #[test]
    fn a_further_one_that_is_wrong_is_left_out() {
        let spec = "access: [{name: a, role: ReadOnly, secretRef: {name: s, key: a}}, {name: b, role: ReadWrite, secretRef: {name: s, key: b}}, {name: c, role: ReadOnly, secretRef: {name: s, key: c}}, {name: d, role: ReadOnly, secretRef: {name: s, key: d}}]";
        let values = "a: 01234567890123456789a, b: 01234567890123456789b, c: 01234567890123456789b";
        let (found, problems) = run(spec, &secret("default", values));
        let identities = found.unwrap();
        assert_eq!(
            identities,
            [
                ("token".to_owned(), Role::ReadWrite),
                ("access/a".to_owned(), Role::ReadOnly),
                ("access/b".to_owned(), Role::ReadWrite)
            ]
        );
        let found: Vec<_> = problems.iter().map(|p| (p.reason, p.field.as_deref().unwrap())).collect();
        let expected =
            [(Reason::SecretKeyNotFound, "spec.access[3].secretRef"), (Reason::SameToken, "spec.access[2].secretRef")];
        assert_eq!(found, expected);
    }
}
