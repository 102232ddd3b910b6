//! The calls of the admin interface: method, path, permission. Router, permits, ledger and description all read this list.

/// One call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    /// The description of the interface.
    Describe,
    /// Counts, generation, ledger head.
    ReadStatus,
    /// Who is registered.
    ListSubjects,
    /// Takes back what a subject holds, or one certificate.
    Revoke,
    /// Lets a suspended subject come again.
    Reinstate,
    /// Verifies the whole ledger.
    VerifyLedger,
    /// What expires when.
    ReadExpiry,
}

impl Call {
    /// Every call, in the order of the description.
    pub const ALL: [Self; 7] = [
        Self::Describe,
        Self::ReadStatus,
        Self::ListSubjects,
        Self::Revoke,
        Self::Reinstate,
        Self::VerifyLedger,
        Self::ReadExpiry,
    ];

    /// The permission that it needs, as ledger, errors and description name it.
    #[must_use]
    pub const fn permission(self) -> &'static str {
        match self {
            Self::Describe => "description.read",
            Self::ReadStatus => "status.read",
            Self::ListSubjects => "subjects.read",
            Self::Revoke => "revocations.create",
            Self::Reinstate => "reinstatements.create",
            Self::VerifyLedger => "ledger.verify",
            Self::ReadExpiry => "expiry.read",
        }
    }

    /// Its path.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Describe => "/openapi.json",
            Self::ReadStatus => "/v1/status",
            Self::ListSubjects => "/v1/subjects",
            Self::Revoke => "/v1/revocations",
            Self::Reinstate => "/v1/reinstatements",
            Self::VerifyLedger => "/v1/ledger/verify",
            Self::ReadExpiry => "/v1/expiry",
        }
    }

    /// Whether it changes something; then it is a POST with a body, and in the ledger before it is carried out too.
    #[must_use]
    pub const fn changes(self) -> bool {
        matches!(self, Self::Revoke | Self::Reinstate)
    }

    /// Its HTTP method.
    #[must_use]
    pub const fn method(self) -> &'static str {
        if self.changes() { "POST" } else { "GET" }
    }

    /// The call of that method and path.
    pub(super) fn find(method: &str, path: &str) -> Result<Self, Missed> {
        let mut at = Self::ALL.into_iter().filter(|call| call.path() == path).peekable();
        let Some(first) = at.peek().copied() else { return Err(Missed::Path) };
        at.find(|call| call.method() == method).ok_or(Missed::Method(first.method()))
    }
}

/// Why a request is no call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missed {
    /// Nothing is there.
    Path,
    /// Something is there, under this method.
    Method(&'static str),
}
