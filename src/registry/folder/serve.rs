//! What the registry gets at the end of a pass, and what is said of it.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use super::{
    FolderRegistry, Held, Retry,
    credentials::{credentials, same},
    open::conflict,
    paths::Groups,
    report::{Change, ChangeKind, Generated, Problem, Reason, Report, Served, Severity},
};
use crate::registry::{Backend, ResourceName};
use crate::store::{Settings, StatePath};

impl FolderRegistry {
    /// What the registry gets, with what changed since the last pass.
    pub(super) fn serve(&mut self, groups: &Groups, report: &mut Report) -> Vec<Arc<Backend>> {
        let mut serving: BTreeMap<ResourceName, Arc<Backend>> = BTreeMap::new();
        let told = report.problems.iter().filter(|problem| problem.reason == Reason::PathConflict);
        let told: HashSet<ResourceName> =
            told.filter_map(|problem| problem.subject.as_ref().map(|subject| subject.name.clone())).collect();
        for (path, names) in groups {
            let winner = names.iter().find(|name| self.held.get(name).is_some_and(Held::stands));
            for name in names.iter().filter(|name| Some(*name) != winner && !told.contains(name)) {
                if let Some(winner) = winner
                    && let (Some(good), Some(of)) = (self.backends.get(name), self.backends.get(winner))
                {
                    report.problems.push(conflict(name, &good.place, path, winner, &of.place));
                }
            }
            let Some(name) = winner else { continue };
            if let Some(backend) = self.backend(name, path, report) {
                serving.insert(name.clone(), backend);
            }
        }
        for (name, held) in &mut self.held {
            let now = serving.get(name);
            if let (Some(gone), None) = (&held.backend, now) {
                let (resource, path) = (name.clone(), gone.path().clone());
                report.changes.push(Change { resource, path, kind: ChangeKind::Removed });
            }
            held.backend = now.cloned();
            // When its manifest comes back, the claim and the head are looked at again.
            if let (Some(opened), false) = (&mut held.opened, self.backends.contains_key(name)) {
                opened.verified = false;
            }
        }
        report.served.sort_by(|a, b| a.path.cmp(&b.path));
        serving.into_values().collect()
    }

    fn backend(&mut self, name: &ResourceName, path: &StatePath, report: &mut Report) -> Option<Arc<Backend>> {
        let (good, held) = (self.backends.get(name)?, self.held.get_mut(name)?);
        let (manifest, opened) = (held.manifest.as_ref()?, held.opened.as_ref()?);
        let mut changed = |kind| report.changes.push(Change { resource: name.clone(), path: path.clone(), kind });
        let fault = opened.fault.as_ref().map(|fault| fault.reason);
        let before = held.backend.as_ref();

        let settings = Settings::from(&manifest.settings);
        if held.settings.as_ref() != Some(&settings) {
            opened.state.set_settings(settings.clone());
            if before.is_some() {
                changed(ChangeKind::Settings);
            }
            held.settings = Some(settings);
        }
        let admitted = credentials(
            name,
            &good.place,
            manifest,
            held.token,
            self.options.api_token,
            &self.secrets,
            &mut report.problems,
        );
        report.problems.extend(opened.fault.clone());
        if fault == Some(Reason::StoreUnavailable) || fault == Some(Reason::DataFile) {
            self.retry = Retry::Soon;
        }
        let credentials = admitted?;
        let generated = held.token.is_some() && manifest.resource.spec.access_token_secret_ref.is_none();
        report.served.push(Served {
            resource: name.clone(),
            path: path.clone(),
            identities: credentials.iter().map(|credential| credential.identity.clone()).collect(),
            token_file: generated.then(|| self.opener.tokens.file(name)),
            fault,
        });
        let was = std::mem::replace(&mut held.fault, fault);
        let backend = |credentials| {
            let (resource, state) = (name.clone(), opened.state.clone());
            Some(Arc::new(Backend { resource, state, credentials, former: Vec::new() }))
        };
        let Some(old) = before else {
            changed(ChangeKind::Added);
            return backend(credentials);
        };
        if was != fault {
            changed(ChangeKind::Fault);
        }
        let same_people = same(&old.credentials, &credentials);
        if !same_people {
            changed(ChangeKind::Credentials);
        }
        if same_people && old.state.is(&opened.state) {
            return Some(old.clone());
        }
        backend(credentials)
    }

    /// One line for what changed and for what is newly wrong or mended.
    pub(super) fn log(&mut self, report: &Report) {
        for Change { resource, path, kind } in &report.changes {
            match kind {
                ChangeKind::Added => tracing::info!(%resource, %path, "served"),
                ChangeKind::Removed => tracing::info!(%resource, %path, "not served any more; its state stays"),
                ChangeKind::Settings => tracing::info!(%resource, %path, "limits changed"),
                ChangeKind::Credentials => tracing::info!(%resource, %path, "credentials changed"),
                ChangeKind::Fault => tracing::info!(%resource, %path, "answers again, or no more"),
            }
        }
        for Generated { resource, path, file, .. } in &report.generated {
            tracing::info!(%resource, %path, file = %file.display(), "token generated");
        }
        let new = report.problems.iter().filter(|problem| self.said.binary_search(problem).is_err());
        let (away, new): (Vec<_>, Vec<_>) = new.partition(|problem| problem.reason == Reason::StoreUnavailable);
        // An outage is one line, not one for each path.
        if let Some(first) = away.first() {
            tracing::error!(resources = away.len(), "{first}");
        }
        for problem in new {
            match problem.severity {
                Severity::Error => tracing::error!("{problem}"),
                Severity::Warning => tracing::warn!("{problem}"),
                Severity::Note => tracing::info!("{problem}"),
            }
        }
        let mended = |problem: &&Problem| {
            problem.severity != Severity::Note
                && problem.reason != Reason::StoreUnavailable
                && report.problems.binary_search(problem).is_err()
        };
        for problem in self.said.iter().filter(mended) {
            tracing::info!("no more: {problem}");
        }
        self.said.clone_from(&report.problems);
    }
}
