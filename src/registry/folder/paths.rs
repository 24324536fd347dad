//! Which resource gets which path: tenancy and standing say in which order they are tried, the store has the last word.

use std::collections::BTreeMap;

use super::{
    FolderRegistry, Held, Retry,
    open::{Candidate, Opened, Outcome},
    report::{Generated, Kind, Problem, Reason, Report, Severity},
    resolve::{Goods, Standing, by_path},
};
use crate::registry::ResourceName;
use crate::store::{Settings, StatePath};

/// Every resource that may have its path, the best of each path first.
pub(super) type Groups = BTreeMap<StatePath, Vec<ResourceName>>;

impl FolderRegistry {
    /// Who may have which path, as far as the folder tells. Takes over the manifests of those.
    pub(super) fn groups(&mut self, problems: &mut Vec<Problem>) -> Groups {
        let mut wanted = Vec::new();
        for (name, good) in &self.backends {
            let about = |problem: Problem| problem.at(&good.place).of(Kind::TofuStateBackend, name);
            let Some(held) = self.held.get_mut(name) else { continue };
            if let Err(problem) = &held.record {
                problems.push(problem.clone());
                self.retry = self.retry.max(Retry::Soon);
                continue;
            }
            let recorded = matches!(&held.record, Ok(Some(_)));
            if good.content.resource.spec.suspend {
                let known = held.opened.is_some() || recorded;
                let message = if known {
                    "spec.suspend is true: changes of this resource wait, and it goes on being served"
                } else {
                    "spec.suspend is true: it is not set up before that ends"
                };
                problems.push(about(Problem::new(Severity::Note, Reason::Suspended, message)));
                if !known {
                    continue;
                }
            }
            if !good.content.resource.spec.suspend || held.manifest.is_none() {
                held.manifest = Some(good.content.clone());
            }
            let Some(manifest) = &held.manifest else { continue };
            let path = &manifest.settings.path;
            let namespace = namespace_of(&self.namespaces, name);
            let prefixes = namespace.and_then(|namespace| namespace.prefixes.as_deref());
            if let Err(message) = self.options.tenancy.allows(&name.namespace, prefixes, path) {
                problems.push(about(Problem::error(Reason::PathNotAllowed, message)).field("spec.path"));
                continue;
            }
            let standing = match held {
                Held { backend: Some(_), .. } => Standing::Served,
                Held { opened: Some(_), .. } => Standing::Open,
                _ if recorded => Standing::Recorded,
                _ => Standing::New,
            };
            wanted.push((path.clone(), standing, name.clone()));
        }
        by_path(wanted.into_iter())
    }

    /// Claims and registers what is new, came back, or could not be opened before.
    pub(super) async fn open(&mut self, groups: &Groups, report: &mut Report) {
        let mut work = Vec::new();
        for (path, names) in groups {
            let first = names.first().and_then(|name| self.held.get(name));
            if first.is_some_and(|held| held.is_ready(self.options.api_token)) {
                continue;
            }
            let group: Vec<Candidate> = names.iter().filter_map(|name| self.candidate(path, name)).collect();
            work.push(group);
        }
        for Outcome { name, opened, problem, token } in self.opener.run(work).await {
            let Some(held) = self.held.get_mut(&name) else { continue };
            if problem.is_some() || opened.as_ref().is_none_or(|opened| opened.fault.is_some()) {
                self.retry = self.retry.max(Retry::Later);
            }
            report.problems.extend(problem);
            held.opened = opened.or_else(|| {
                let old = held.opened.take();
                old.map(|old| Opened { fault: None, verified: false, ..old })
            });
            match token {
                None => {}
                Some(Err(problem)) => {
                    report.problems.push(problem);
                    self.retry = Retry::Soon;
                }
                Some(Ok(obtained)) => {
                    held.token = Some(obtained.hash);
                    if let (Some(token), Some(manifest)) = (obtained.made, &held.manifest) {
                        let path = manifest.settings.path.clone();
                        let file = self.opener.tokens.file(&name);
                        report.generated.push(Generated { resource: name, path, token, file });
                    }
                }
            }
        }
        report.generated.sort_by(|a, b| a.path.cmp(&b.path));
    }

    fn candidate(&mut self, path: &StatePath, name: &ResourceName) -> Option<Candidate> {
        let adopt = namespace_of(&self.namespaces, name).and_then(|namespace| namespace.adopt.as_deref());
        let adopt = adopt.is_some_and(|adopt| adopt.trim() == path.as_str());
        let (good, held) = (self.backends.get(name)?, self.held.get_mut(name)?);
        if held.opened.as_ref().is_some_and(|opened| opened.state.path() != path) {
            // Never won, or its path could not have changed.
            (held.opened, held.kept, held.settings) = (None, None, None);
        }
        let manifest = held.manifest.as_ref()?;
        let mark = held.record.as_ref().ok()?.as_ref().map(|record| record.mark);
        let kept = held.kept.get_or_insert_with(|| self.records.keep(name, path, mark)).clone();
        Some(Candidate {
            name: name.clone(),
            place: good.place.clone(),
            path: path.clone(),
            settings: Settings::from(&manifest.settings),
            adopt,
            kept,
            mark,
            opened: held.opened.clone(),
            needs_token: held.needs_token(self.options.api_token),
        })
    }
}

fn namespace_of<'a>(
    namespaces: &'a Goods<super::NamespaceManifest>,
    name: &ResourceName,
) -> Option<&'a super::NamespaceManifest> {
    let key = ResourceName { namespace: String::new(), name: name.namespace.clone() };
    namespaces.get(&key).map(|good| &*good.content)
}
