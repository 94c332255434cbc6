//! One error type for the whole library. `what` says what we were doing to which thing, `source` keeps the original,
//! `hint` says what to do. A [`Kind`] exists only where somebody acts on it: the exit code, a retry, an HTTP status.

use std::fmt;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller may do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Something went wrong that none of the others describes.
    Failed,
    /// The command line or a file written by a person asks for something impossible.
    Usage,
    /// A part was done and is usable; the rest was not.
    Partial,
    /// The recording is broken, empty, cut short or no media at all.
    BadMedia,
    /// The recording may be sound, but cannot be read here: encrypted, decoder missing, over a stated limit.
    Unsupported,
    /// A named thing is not there.
    NotFound,
    /// Somebody else changed it first, or holds it.
    Conflict,
    /// No disk, no memory, over a limit of this machine.
    Limit,
    /// Not allowed.
    Denied,
    /// Store, queue or network out of reach.
    Unavailable,
    /// Our own data does not match its digest.
    Corrupt,
    /// Stopped by the user.
    Cancelled,
    /// A child process died or hung: a plug-in's fault more often than ours.
    Crashed,
    /// Somebody killed a child process: most often the kernel, for lack of memory.
    Killed,
    /// Cannot happen; a defect of Rivulet.
    Bug,
}

impl Kind {
    /// The process exit code (design section 7): 0 ok, 1 failed, 2 usage, 3 partly done, 4 bad input, 5 unreachable, 130 interrupted.
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::Usage => 2,
            Kind::Partial => 3,
            Kind::BadMedia | Kind::Unsupported => 4,
            Kind::Unavailable => 5,
            Kind::Cancelled => 130,
            _ => 1,
        }
    }

    /// Whether the same call may succeed when tried again, unchanged.
    pub fn retryable(self) -> bool {
        matches!(self, Kind::Unavailable | Kind::Crashed | Kind::Killed)
    }
}

pub struct Error {
    kind: Kind,
    what: String,
    hint: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    pub fn new(kind: Kind, what: impl Into<String>) -> Self {
        Error { kind, what: what.into(), hint: None, source: None }
    }
    pub fn failed(what: impl Into<String>) -> Self {
        Self::new(Kind::Failed, what)
    }
    pub fn usage(what: impl Into<String>) -> Self {
        Self::new(Kind::Usage, what)
    }
    pub fn bad_media(what: impl Into<String>) -> Self {
        Self::new(Kind::BadMedia, what)
    }
    pub fn bug(what: impl Into<String>) -> Self {
        Self::new(Kind::Bug, what)
    }
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
    /// The same, said of `subject`.
    pub fn of(mut self, subject: &str) -> Self {
        self.what = format!("{subject}: {}", self.what);
        self
    }
    pub fn kind(&self) -> Kind {
        self.kind
    }
    /// The first line, without causes.
    pub fn what(&self) -> &str {
        &self.what
    }
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }
    /// `what`, then one `caused by` line per source, then the hint: what a person is shown, once.
    pub fn report(&self) -> String {
        let mut text = self.what.clone();
        let mut next = std::error::Error::source(self);
        while let Some(cause) = next {
            text.push_str(&format!("\ncaused by: {cause}"));
            next = cause.source();
        }
        if let Some(hint) = &self.hint {
            text.push_str(&format!("\nhint: {hint}"));
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.report())
    }
}
impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|s| s.as_ref() as _)
    }
}

/// Adds what we were doing to a foreign error.
pub trait ResultExt<T> {
    /// Wraps with a kind read off the cause where it is an I/O error (no space, denied, not found), else [`Kind::Failed`].
    fn doing(self, what: impl FnOnce() -> String) -> Result<T>;
    /// Wraps with a given kind.
    fn kind(self, kind: Kind, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E> ResultExt<T> for std::result::Result<T, E>
where
    E: std::error::Error + Send + Sync + 'static,
{
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|e| {
            let io = (&e as &dyn std::error::Error).downcast_ref::<std::io::Error>().map(|e| e.kind());
            use std::io::ErrorKind as K;
            let (kind, hint) = match io {
                Some(K::NotFound) => (Kind::NotFound, None),
                Some(K::PermissionDenied) => (Kind::Denied, Some("check the owner and mode of the path")),
                Some(K::StorageFull | K::QuotaExceeded) => {
                    (Kind::Limit, Some("free some space (`rivulet clean` shows what the work directory holds), then run the same command again: what is finished is kept"))
                }
                _ => (Kind::Failed, None),
            };
            let error = Error::new(kind, what()).caused_by(e);
            match hint {
                Some(hint) => error.hint(hint),
                None => error,
            }
        })
    }
    fn kind(self, kind: Kind, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|e| Error::new(kind, what()).caused_by(e))
    }
}

/// An [`Error`] as it crosses a process border or is printed with `--json`: `{"type":"error",...}`.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct ErrorLine {
    pub kind: Kind,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
}

impl ErrorLine {
    /// What, and why, without what to do: for a line among others.
    pub fn in_a_line(&self) -> String {
        std::iter::once(&self.message).chain(&self.causes).map(String::as_str).collect::<Vec<_>>().join(": ")
    }
}

impl From<&Error> for ErrorLine {
    fn from(e: &Error) -> Self {
        let mut causes = Vec::new();
        let mut next = std::error::Error::source(e);
        while let Some(cause) = next {
            causes.push(cause.to_string());
            next = cause.source();
        }
        ErrorLine { kind: e.kind, message: e.what.clone(), hint: e.hint.clone(), causes }
    }
}
impl From<ErrorLine> for Error {
    fn from(line: ErrorLine) -> Self {
        let mut error = Error::new(line.kind, line.message);
        error.hint = line.hint;
        if !line.causes.is_empty() {
            error = error.caused_by(line.causes.join(": "));
        }
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_causes_and_hint_across_a_process_border() {
        let e = Error::new(Kind::BadMedia, "cannot read a.mp4").caused_by("no moov").hint("copy it again");
        let line = serde_json::to_string(&ErrorLine::from(&e)).unwrap();
        let back: Error = serde_json::from_str::<ErrorLine>(&line).unwrap().into();
        assert_eq!(back.report(), e.report());
        assert_eq!(back.kind().exit_code(), 4);
    }

    #[test]
    fn a_full_disk_is_a_limit_and_says_what_to_do() {
        let full: std::io::Result<()> = Err(std::io::Error::from(std::io::ErrorKind::StorageFull));
        let e = full.doing(|| "cannot write x".into()).unwrap_err();
        assert_eq!(e.kind(), Kind::Limit);
        assert!(e.report().contains("rivulet clean"));
    }
}
