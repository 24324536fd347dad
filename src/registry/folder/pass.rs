//! One pass: from what the folder has now to what the registry serves.

use std::sync::{Arc, PoisonError};

use tokio::task::spawn_blocking;

use super::{
    FolderRegistry, Held, Retry,
    contents::Contents,
    manifest::{BackendManifest, Item, problems as violations},
    report::{Kind, Place, Problem, Reason, Report, Severity},
    resolve::resolve,
};
use crate::crd::{self, TofuStateBackend, TofuStateBackendSpec};
use crate::registry::ResourceName;

impl FolderRegistry {
    /// One pass: reads what changed in the folder, checks it, and serves what holds. What was served and did not change
    /// goes on meanwhile.
    pub async fn reconcile(&mut self) -> Report {
        let (contents, _) = self.look().await;
        self.apply(&contents).await
    }

    /// What the folder has now, and whether that is otherwise than at the last look.
    pub(super) async fn look(&self) -> (Arc<Contents>, bool) {
        let folder = self.folder.clone();
        let looked = spawn_blocking(move || folder.lock().unwrap_or_else(PoisonError::into_inner).refresh()).await;
        // Only a panic or the end of the process: nothing is known, so nothing goes.
        looked.unwrap_or_else(|error| {
            let problem = Problem::error(Reason::Unreadable, format!("reading the folder ended early: {error}"));
            let mut contents = Contents { problems: vec![problem], again: true, ..Contents::default() };
            contents.unseen.all = true;
            (Arc::new(contents), true)
        })
    }

    pub(super) async fn apply(&mut self, contents: &Contents) -> Report {
        let mut report = Report { problems: contents.problems.clone(), ..Report::default() };
        self.retry = if contents.again { Retry::Soon } else { Retry::No };
        if contents.read && contents.files.iter().all(|file| file.backends.is_empty()) {
            let message = "no TofuStateBackend was found: nothing is served until one is there (*.yaml, *.yml, *.json)";
            let root = Place::file(&self.options.manifests);
            report.problems.push(Problem::new(Severity::Warning, Reason::NothingFound, message).at(&root));
        }
        self.meet(contents).await;
        self.resolve(contents, &mut report.problems);
        let groups = self.groups(&mut report.problems);
        self.open(&groups, &mut report).await;
        let backends = self.serve(&groups, &mut report);
        // Before the folder was ever read, nobody is told that a path is not registered.
        if contents.read || self.registry.is_loaded() {
            self.registry.replace(backends);
        }
        report.problems.extend(self.records.problems());
        report.problems.sort();
        report.problems.dedup();
        report.again = self.retry == Retry::Soon;
        self.log(&report);
        report
    }

    /// Reads the records of resources that are new here.
    async fn meet(&mut self, contents: &Contents) {
        let found = contents.files.iter().flat_map(|file| file.backends.iter().map(|item| &item.name));
        let known = |name: &&ResourceName| self.held.get(name).is_none_or(|held| held.record.is_err());
        let new: Vec<ResourceName> = found.filter(known).cloned().collect();
        if new.is_empty() {
            return;
        }
        let records = self.records.clone();
        let read = spawn_blocking(move || new.into_iter().map(|name| (records.read(&name), name)).collect::<Vec<_>>());
        for (record, name) in read.await.unwrap_or_default() {
            let held = self.held.entry(name).or_insert_with(|| Held {
                record: Ok(None),
                manifest: None,
                kept: None,
                opened: None,
                settings: None,
                token: None,
                backend: None,
                fault: None,
            });
            held.record = record;
        }
    }

    fn resolve(&mut self, contents: &Contents, problems: &mut Vec<Problem>) {
        let (files, unseen) = (&contents.files, &contents.unseen);
        let found = files.iter().flat_map(|file| &file.secrets);
        self.secrets = resolve(Kind::Secret, found, &self.secrets, unseen, |_, _| Vec::new(), problems);
        let found = files.iter().flat_map(|file| &file.namespaces);
        self.namespaces = resolve(Kind::Namespace, found, &self.namespaces, unseen, |_, _| Vec::new(), problems);
        let found = files.iter().flat_map(|file| &file.backends);
        let held = &self.held;
        let check =
            |item: &Item<BackendManifest>, new: &Arc<BackendManifest>| transition(held.get(&item.name), item, new);
        self.backends = resolve(Kind::TofuStateBackend, found, &self.backends, unseen, check, problems);
    }
}

/// What a new version may not change: judged by the one that is served or was last, by this process or the one before.
fn transition(held: Option<&Held>, item: &Item<BackendManifest>, new: &Arc<BackendManifest>) -> Vec<Problem> {
    let Some(held) = held else { return Vec::new() };
    let won = held.opened.as_ref().is_some_and(|opened| opened.claim > 0);
    let old = match (&held.manifest, &held.record) {
        (Some(old), _) if old.resource.spec == new.resource.spec => return Vec::new(),
        (Some(old), _) if won => old.resource.clone(),
        (_, Ok(Some(record))) if record.path != new.settings.path => {
            TofuStateBackend::new(&item.name.name, TofuStateBackendSpec::new(record.path.as_str()))
        }
        // It never had a path, so it may still choose one.
        _ => return Vec::new(),
    };
    let was = &old.spec.path;
    let wrong = match serde_json::to_value(&new.resource) {
        Ok(object) => crd::admit(&object, Some(&old)).err().unwrap_or_default(),
        Err(_) => return vec![Problem::error(Reason::InvalidSpec, "it cannot be compared with the version before")],
    };
    let mut problems = violations(wrong, "", Kind::TofuStateBackend, &item.name, &item.place);
    for problem in problems.iter_mut().filter(|problem| problem.field.as_deref() == Some("spec.path")) {
        problem.message += &format!("; it was {was}");
    }
    problems
}
