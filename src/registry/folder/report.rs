//! What one pass over the folder came to: what is served, what is wrong and where, what changed. No decisions.

use std::{fmt, path::Path, sync::Arc};

use crate::crd::{StatePath, conditions::reason};
use crate::registry::{Redacted, ResourceName};

/// The outcome of one pass.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What is served now, by path.
    pub served: Vec<Served>,
    /// What is wrong or worth knowing, in the order in which a reader looks for it: errors first.
    pub problems: Vec<Problem>,
    /// What is served otherwise than before this pass.
    pub changes: Vec<Change>,
    /// Tokens that this pass made: never shown again.
    pub generated: Vec<Generated>,
    /// Something is to be tried again though no file changes: the store was away, or a file could not be read.
    pub again: bool,
}

/// A path that is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// The resource that registers it.
    pub resource: ResourceName,
    /// The path.
    pub path: StatePath,
    /// Who may use it: `token`, `access/<name>`.
    pub identities: Vec<String>,
    /// Where its generated token is kept, if it has one.
    pub token_file: Option<std::path::PathBuf>,
    /// Every request is answered with 503 for this reason.
    pub fault: Option<Reason>,
}

/// What a pass changed about a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The resource.
    pub resource: ResourceName,
    /// The path.
    pub path: StatePath,
    /// What happened.
    pub kind: ChangeKind,
}

/// What happened to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is served, and was not before.
    Added,
    /// Its limits changed.
    Settings,
    /// Its credentials changed.
    Credentials,
    /// It answers again, or no more.
    Fault,
    /// It is not served any more. Nothing is released or deleted.
    Removed,
}

/// A token that was made for a resource that names no Secret.
#[derive(Clone, Debug)]
pub struct Generated {
    /// The resource.
    pub resource: ResourceName,
    /// The path.
    pub path: StatePath,
    /// The token.
    pub token: Redacted<String>,
    /// The file that keeps it.
    pub file: std::path::PathBuf,
}

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Something that was asked for is not so.
    Error,
    /// It is so, and should be otherwise.
    Warning,
    /// Worth knowing.
    Note,
}

/// A kind of manifest that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A registered path.
    TofuStateBackend,
    /// Credentials.
    Secret,
    /// What a namespace may register.
    Namespace,
}

/// The place of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The file, or the folder.
    pub file: Arc<Path>,
    /// Which document of the file, from 1; empty ones do not count.
    pub document: Option<usize>,
    /// The line where the document begins, or where it cannot be read any further; from 1.
    pub line: Option<usize>,
}

/// A manifest by kind and name; a Namespace has no namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    /// The kind.
    pub kind: Kind,
    /// The name.
    pub name: ResourceName,
}

/// Something that a person may have to act on. Never has anything of a credential in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// Where it is.
    pub place: Option<Place>,
    /// What it is about, where that is known.
    pub subject: Option<Box<Subject>>,
    /// The field, where one is to blame.
    pub field: Option<String>,
    /// What kind of thing it is.
    pub reason: Reason,
    /// What was found and what to do.
    pub message: String,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $text:expr,)*) => {
        /// What kind of thing is wrong. Where the cluster has a condition's reason for it, it is the same one.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason { $($(#[$doc])* $name,)* }

        impl Reason {
            /// As it is shown and counted.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

reasons! {
    /// A file or folder cannot be read.
    Unreadable = "Unreadable",
    /// Symbolic links lead in a circle.
    SymlinkLoop = "SymlinkLoop",
    /// A file is too large, or there are too many.
    TooMuch = "TooMuch",
    /// The folder changes while it is read.
    Changing = "Changing",
    /// A document is no YAML or JSON.
    NotYaml = "NotYaml",
    /// A manifest does not hold together.
    InvalidSpec = reason::INVALID_SPEC,
    /// The folder has no TofuStateBackend.
    NothingFound = "NothingFound",
    /// A document is passed over.
    Skipped = "Skipped",
    /// Several manifests have the same kind, namespace and name.
    Duplicate = "Duplicate",
    /// Another resource owns the path.
    PathConflict = reason::PATH_CONFLICT,
    /// The path holds a state that another resource left.
    PathHasState = reason::PATH_HAS_STATE,
    /// The namespace may not register the path.
    PathNotAllowed = reason::PATH_NOT_ALLOWED,
    /// A Secret is not in the folder.
    SecretNotFound = reason::SECRET_NOT_FOUND,
    /// A Secret has no such key, or nothing under it.
    SecretKeyNotFound = reason::SECRET_KEY_NOT_FOUND,
    /// A credential cannot be used as one.
    InvalidToken = "InvalidToken",
    /// Two credentials of a resource have the same token.
    SameToken = "SameToken",
    /// A credential is short.
    WeakToken = reason::WEAK_TOKEN,
    /// Spaces or line breaks around a credential are ignored.
    TokenTrimmed = "TokenTrimmed",
    /// A file of the data folder cannot be read or written.
    DataFile = "DataFile",
    /// The state was there before, and the store has nothing under its path.
    HeadLost = reason::HEAD_LOST,
    /// The store has an older state than was seen before.
    StoreWentBack = reason::STORE_WENT_BACK,
    /// The entry of the path is not one that this release may touch.
    NotAHead = reason::NOT_A_HEAD,
    /// The store does not answer.
    StoreUnavailable = "StoreUnavailable",
    /// Changes of the resource wait.
    Suspended = reason::SUSPENDED,
}

impl Problem {
    pub(super) fn new(severity: Severity, reason: Reason, message: impl Into<String>) -> Self {
        Self { severity, place: None, subject: None, field: None, reason, message: message.into() }
    }

    pub(super) fn error(reason: Reason, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, reason, message)
    }

    pub(super) fn at(mut self, place: &Place) -> Self {
        self.place = Some(place.clone());
        self
    }

    pub(super) fn of(mut self, kind: Kind, name: &ResourceName) -> Self {
        self.subject = Some(Box::new(Subject { kind, name: name.clone() }));
        self
    }

    pub(super) fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into()).filter(|field| !field.is_empty());
        self
    }
}

impl Place {
    pub(super) fn file(path: &Path) -> Self {
        Self { file: path.into(), document: None, line: None }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, name } = self;
        if name.namespace.is_empty() { write!(f, "{kind} {}", name.name) } else { write!(f, "{kind} {name}") }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        match (self.document, self.line) {
            (Some(document), Some(line)) => write!(f, ", document {document} (line {line})"),
            (Some(document), None) => write!(f, ", document {document}"),
            (None, Some(line)) => write!(f, ", line {line}"),
            (None, None) => Ok(()),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        if let Some(subject) = &self.subject {
            write!(f, "{subject}: ")?;
        }
        if let Some(field) = &self.field {
            write!(f, "{field}: ")?;
        }
        write!(f, "{} ({})", self.message, self.reason)
    }
}
