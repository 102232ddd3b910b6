//! What each call does. None can be called without its permit.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{
    CallPermit, Describe, ListSubjects, ReadExpiry, ReadStatus, Refused, Reinstate, Revoke,
    VerifyLedger, openapi,
};
use crate::authority::Authority;
use crate::error::AuthorityError;
use crate::registration::Reason;
use crate::revocation::Target;
use crate::subject::Subject;

/// The most subjects in one answer; the newest changes come first.
const MAX_LISTED: usize = 10_000;

pub(super) fn describe(_: &CallPermit<Describe>) -> Value {
    openapi::description()
}

pub(super) async fn status(
    authority: &Authority,
    _: &CallPermit<ReadStatus>,
) -> Result<Value, AuthorityError> {
    let core = &authority.core;
    let ledger = authority.ledger_summary().await?;
    Ok(json!({
        "now": core.now().to_rfc3339(),
        "ceremony": authority.authorities().is_ok(),
        "subjects": core.registry.subject_count(),
        "certificates": core.store.count_good(core.now()).await?,
        "revoked": core.registry.denylist().len(),
        "generation": core.store.generation().await?,
        "ledger": ledger,
    }))
}

pub(super) async fn subjects(
    authority: &Authority,
    _: &CallPermit<ListSubjects>,
) -> Result<Value, AuthorityError> {
    let all = authority.subjects().await?;
    let registry = authority.registry();
    let total = all.len();
    let one = |one: crate::store::SubjectRecord| {
        let grants: Vec<String> = one.grants.iter().map(ToString::to_string).collect();
        let mut told = json!({
            "kind": one.subject.kind(), "name": one.subject.name(), "state": one.state.as_str(),
            "grants": grants, "since": one.created_at.to_rfc3339(),
        });
        if let Subject::Operator(name) = &one.subject
            && let Some(role) = registry.role(name)
        {
            told["role"] = json!(role.as_str());
        }
        told
    };
    let listed: Vec<Value> = all.into_iter().rev().take(MAX_LISTED).map(one).collect();
    Ok(json!({"total": total, "subjects": listed}))
}

pub(super) async fn verify_ledger(
    authority: &Authority,
    _: &CallPermit<VerifyLedger>,
) -> Result<Value, AuthorityError> {
    let summary = authority.verify_ledger().await?;
    Ok(serde_json::to_value(summary).expect("counts and hashes serialise"))
}

pub(super) async fn expiry(
    authority: &Authority,
    _: &CallPermit<ReadExpiry>,
) -> Result<Value, AuthorityError> {
    let report = authority.expiry(crate::expiry::WITHIN).await?;
    Ok(serde_json::to_value(report).expect("names, instants and counts serialise"))
}

/// What is to be revoked.
pub(super) struct Revocation {
    target: Target,
    reason: Reason,
}

impl Revocation {
    pub(super) fn read(body: &[u8]) -> Result<Self, Refused> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Body {
            target: String,
            reason: Reason,
        }
        let Body { target, reason } = parse(body)?;
        let target = target.parse().map_err(|error| Refused::bad(format!("target: {error}")))?;
        Ok(Self { target, reason })
    }

    /// For the ledger.
    pub(super) fn about(&self) -> String {
        match &self.target {
            Target::Subject(subject) => subject.to_string(),
            // What is no serial number is not written down.
            Target::Serial(serial) if serial.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                format!("serial:{}", serial.get(..64).unwrap_or(serial))
            }
            Target::Serial(_) => "serial:?".to_owned(),
        }
    }
}

pub(super) async fn revoke(
    authority: &Authority,
    _: &CallPermit<Revoke>,
    asked: &Revocation,
) -> Result<Value, AuthorityError> {
    let done = authority.revoke(&asked.target, asked.reason).await?;
    Ok(json!({
        "subject": done.subject.to_string(), "state": done.state.as_str(), "serials": done.serials,
    }))
}

/// Who may come again.
pub(super) struct Reinstatement {
    subject: Subject,
}

impl Reinstatement {
    pub(super) fn read(body: &[u8]) -> Result<Self, Refused> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Body {
            subject: String,
        }
        let Body { subject } = parse(body)?;
        let subject = subject.parse().map_err(|error| Refused::bad(format!("subject: {error}")))?;
        Ok(Self { subject })
    }

    /// For the ledger.
    pub(super) fn about(&self) -> String {
        self.subject.to_string()
    }
}

pub(super) async fn reinstate(
    authority: &Authority,
    _: &CallPermit<Reinstate>,
    asked: &Reinstatement,
) -> Result<Value, AuthorityError> {
    let state = authority.reinstate(&asked.subject).await?;
    Ok(json!({"subject": asked.subject.to_string(), "state": state.as_str()}))
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    serde_json::from_slice(body).map_err(|error| Refused::bad(format!("the body: {error}")))
}
