//! Codes for one enrolment: an operator gives one to a person, who enrols by it over EST without an identity yet (HTTP Basic,
//! RFC 7030 section 3.2.3). The code is shown once; what is kept is a hash of it and of the name that it is for.

use std::time::Duration;

use countersign_crypto::digest::sha256;
use countersign_model::grant::Grant;
use countersign_model::time::Timestamp;
use serde_json::json;

use crate::authority::{Authority, Core};
use crate::error::AuthorityError;
use crate::ledger::Kind;
use crate::registration::{Refusal, State};
use crate::subject::Subject;

/// The longest that a code stands.
pub const MAX_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);

/// Wrong codes for one name after which its codes are void.
pub(crate) const MAX_GUESSES: u64 = 5;

/// Letters and digits that are not mistaken for each other (Crockford's base32).
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Characters of a code; with five bits each they carry a hundred.
const LENGTH: usize = 20;

/// A code, to be shown once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCode {
    /// For whom.
    pub subject: Subject,
    /// Four groups of five characters.
    pub code: String,
    /// Until when it stands.
    pub ends: Timestamp,
}

impl Authority {
    /// Makes a code by which `subject` enrols once, within `life` (a minute to [`MAX_LIFE`]). A service gets those grants.
    ///
    /// # Errors
    /// [`AuthorityError::Configuration`] for a life out of range or a subject that does not enrol over EST,
    /// [`AuthorityError::Refused`] for one that may not enrol.
    pub async fn new_code(
        &self,
        subject: Subject,
        grants: &[Grant],
        life: Duration,
    ) -> Result<NewCode, AuthorityError> {
        let core = &self.core;
        core.authorities()?;
        let wrong = |file: &str, detail: &str| AuthorityError::Configuration {
            file: file.to_owned(),
            detail: detail.to_owned(),
        };
        if !(Duration::from_secs(60)..=MAX_LIFE).contains(&life) {
            return Err(wrong("--for", "choose one minute to seven days, such as 15m"));
        }
        if !matches!(subject, Subject::Thing(_) | Subject::Service(_)) {
            return Err(wrong("--profile", "only devices and services enrol by a code"));
        }
        let bytes = core.with_random(|random| random.array::<LENGTH>());
        let letters: Vec<u8> = bytes.iter().map(|byte| ALPHABET[usize::from(byte & 31)]).collect();
        let code = letters
            .chunks(5)
            .map(|group| String::from_utf8_lossy(group).into_owned())
            .collect::<Vec<_>>()
            .join("-");
        let (now, ends) = (core.now(), core.now().plus(life));
        let mut turn = core.store.exclusive().await?;
        match turn.subject(&subject).await?.map(|known| known.state) {
            Some(State::Suspended) => return Err(Refusal::Suspended.into()),
            Some(State::Retired) => return Err(Refusal::Retired.into()),
            _ => {}
        }
        let body =
            json!({"subject": subject.to_string(), "step": "made", "ends": ends.to_rfc3339()});
        core.record(Kind::EnrolmentCode, body).await?;
        turn.put_code(&hash(subject.name(), &code), &subject, grants, now, ends).await?;
        turn.commit().await?;
        Ok(NewCode { subject, code, ends })
    }
}

impl Core {
    /// Uses a code up for one request; the same request may come again, since its answer may have been lost. In the database
    /// before this returns, so that a kill afterwards leaves a code that admits that request alone.
    //= specs/house.md#house-est
    //# An enrolment code MUST admit one request only, and a bounded number of guesses.
    pub(crate) async fn redeem(
        &self,
        name: &str,
        code: &str,
        request_sha256: &str,
    ) -> Result<(Subject, Vec<Grant>), AuthorityError> {
        let now = self.now();
        let mut turn = self.store.exclusive().await?;
        let found = turn.code(&hash(name, code)).await?;
        let Some(found) = found else {
            let void = turn.count_guess(name, MAX_GUESSES).await?;
            turn.commit().await?;
            if void > 0 {
                tracing::warn!(name, "wrong enrolment codes: those of this name are void now");
                let body = json!({"name": name, "step": "void", "why": "too many wrong codes"});
                self.record(Kind::EnrolmentCode, body).await?;
            }
            return Err(Refusal::Code.into());
        };
        let again = found.request_sha256 == request_sha256;
        let fresh = found.request_sha256.is_empty();
        if found.ends < now || found.guesses >= MAX_GUESSES || !(fresh || again) {
            return Err(Refusal::Code.into());
        }
        if fresh {
            let subject = found.subject.to_string();
            let body =
                json!({"subject": subject, "step": "used", "request_sha256": request_sha256});
            self.record(Kind::EnrolmentCode, body).await?;
            turn.use_code(&hash(name, code), request_sha256, now).await?;
            turn.commit().await?;
        }
        Ok((found.subject, found.grants))
    }
}

/// What is kept of a code: a hundred random bits need no slow hash.
fn hash(name: &str, code: &str) -> String {
    let plain: String =
        code.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    hex::encode(sha256(format!("enrolment code\n{name}\n{plain}").as_bytes()))
}

#[cfg(test)]
mod tests;
