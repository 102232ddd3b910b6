//! The only place that asks an issuing key for a signature, in steps whose order is the security:
//!
//! ```text
//!  1 registration   may this subject have this certificate?   → EnrolmentPermit
//!  2 retry          the same key again, still good?           → the same certificate
//!  3 profile        names, usages, life from the purpose      → Template
//!  4 prepare        to-be-signed bytes                        → Prepared
//!  5 lint           every rule                                → LintedCertificate
//!  6 intent         serial and hash of those bytes, in the ledger, on the disk
//!  7 sign           takes the LintedCertificate by move
//!  8 compare        signed bytes = linted bytes, signature verifies
//!  9 record         ledger, then database; only now is it handed out
//! ```
//!
//! All of it happens in one writer's turn of the store, so that two processes cannot both say yes. Many certificates may
//! share a turn, and with it the waits for the disk: each step is done for all of them before the next one begins.

use std::collections::HashSet;

use countersign_crypto::anchors::{self, Anchor};
use countersign_crypto::certificate::{Certificate, CertificateChain};
use countersign_crypto::digest::sha256;
use countersign_crypto::issue::{self, CaTemplate, Serial};
use countersign_crypto::signature::KeyHandle;
use countersign_model::grant::Grant;
use countersign_model::time::{Timestamp, Validity};
use serde_json::{Value, json};

use crate::authorities::Authorities;
use crate::authority::Core;
use crate::error::{AuthorityError, Fault};
use crate::ledger::Kind;
use crate::lint::{About, LintedCertificate, lint};
use crate::profile::{self, ServerNames};
use crate::registration::{Claim, Refusal, permit};
use crate::root::{Act, ActKind, NotApproved, RootPermit, RootSigner};
use crate::store::{BatchItem, CertificateRecord, CertificateStatus, Turn};
use crate::subject::{Purpose, Subject};

/// A certificate is given again for the same key until less than this part of its life is left: one third.
const RENEWAL_PART: u64 = 3;

/// What is asked of the authority.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) subject: Subject,
    pub(crate) purpose: Purpose,
    pub(crate) claim: Claim,
    /// Whose possession was proven, or that was made here.
    pub(crate) spki_der: Vec<u8>,
    /// SHA-256 of the request, hexadecimal; empty for keys made here.
    pub(crate) request_sha256: String,
    /// New grants; `None` leaves them as they are.
    pub(crate) grants: Option<Vec<Grant>>,
    pub(crate) server: ServerNames,
    /// The keystore's label of a key made here for ourselves; else empty.
    pub(crate) key_label: String,
}

/// What was issued.
#[derive(Debug, Clone)]
pub struct Issued {
    /// Leaf, then issuing CA.
    pub chain: CertificateChain,
    /// Whether it is new; `false` for the answer to a repeated request.
    pub fresh: bool,
}

/// Issues in the nine steps.
pub(crate) async fn issue(core: &Core, ask: Ask) -> Result<Issued, AuthorityError> {
    let mut answers = issue_all(core, vec![(ask, None)]).await?;
    answers.pop().ok_or(AuthorityError::Worker)?
}

/// The same for many at once: each step for all of them before the next one, so that they share the waits for the disk.
/// What one of them is refused for is its own answer; where the machine fails, none of them is issued.
pub(crate) async fn issue_all(
    core: &Core,
    asks: Vec<(Ask, Option<BatchItem>)>,
) -> Result<Vec<Result<Issued, AuthorityError>>, AuthorityError> {
    core.authorities()?;
    let now = core.now();
    let mut turn = core.store.exclusive().await?;
    // As this turn sees them: another process may have rolled an issuing CA a moment ago.
    let authorities = core.authorities_as(&turn.issuing().await?)?;
    let context = Context { core, authorities: &authorities, now };
    let mut answers: Vec<Option<Result<Issued, AuthorityError>>> = Vec::new();
    let (mut ready, mut seen, mut serials) = (Vec::new(), HashSet::new(), HashSet::new());
    for (place, (ask, item)) in asks.into_iter().enumerate() {
        // What this turn grants to one of the group, the registration of the next sees; but not yet its certificate.
        let twice = !seen.insert((ask.subject.clone(), ask.purpose));
        let step = match twice {
            true => Err(Refusal::AlreadyManufactured.into()),
            false => context.lint_one(&mut turn, ask, item).await,
        };
        answers.push(match step {
            Ok(Step::Again(issued)) => Some(Ok(issued)),
            Ok(Step::Ready(one)) if !serials.insert(one.wish.serial) => {
                return Err(AuthorityError::SerialCollision);
            }
            Ok(Step::Ready(one)) => {
                ready.push((place, one));
                None
            }
            Err(error) if error.fault() == Fault::Environment => return Err(error),
            Err(error) => Some(Err(error)),
        });
    }
    if !ready.is_empty() {
        //= specs/house.md#house-issuance
        //# The intent to issue MUST be on disk before the certificate is signed.
        // 6. Intent.
        let intents = ready.iter().map(|(_, one)| context.intent(one)).collect();
        core.record_all(intents).await?;

        // 7 and 8. Sign and compare.
        let mut signed = Vec::with_capacity(ready.len());
        for (place, one) in ready {
            let (item, certificate) = context.sign_one(one)?;
            signed.push((place, item, certificate));
        }

        // 9. Record.
        let records = signed.iter().flat_map(|(_, one, certificate)| one.records(certificate));
        core.record_all(records.collect()).await?;
        for (place, one, certificate) in signed {
            context.put(&mut turn, one, &certificate).await?;
            let chain = authorities.chain(certificate)?;
            answers[place] = Some(Ok(Issued { chain, fresh: true }));
        }
        turn.commit().await?;
        core.notify();
    }
    Ok(answers.into_iter().flatten().collect())
}

/// What all of a group share.
struct Context<'a> {
    core: &'a Core,
    authorities: &'a Authorities,
    now: Timestamp,
}

/// One that lacks only the signature.
struct Linted {
    wish: Wish,
    certificate: LintedCertificate,
}

/// What was asked for, and what is recorded of it.
struct Wish {
    ask: Ask,
    item: Option<BatchItem>,
    serial: Serial,
    spki_sha256: String,
    /// Where they change.
    grants: Option<Vec<Grant>>,
}

enum Step {
    Again(Issued),
    Ready(Box<Linted>),
}

impl Context<'_> {
    /// Steps 1 to 5. What registration grants is written into the turn at once, so that the next of the group sees it.
    async fn lint_one(
        &self,
        turn: &mut Turn,
        ask: Ask,
        item: Option<BatchItem>,
    ) -> Result<Step, AuthorityError> {
        let (core, now, authorities) = (self.core, self.now, self.authorities);
        let spki_sha256 = hex::encode(sha256(&ask.spki_der));

        // 1. Registration.
        let permit = permit(turn, &ask.subject, ask.purpose, &spki_sha256, &ask.claim, now).await?;

        // 2. Retry.
        let ca = profile::issuer(ask.purpose);
        if let Some(again) = again(turn, &ask, &spki_sha256, authorities.label(ca), now).await? {
            let chain = authorities.chain(again.certificate)?;
            return Ok(Step::Again(Issued { chain, fresh: false }));
        }

        // 3. Profile.
        core.admits_key(ask.purpose, &ask.spki_der, now)?;
        let issuer = authorities.certificate(ca);
        let serial = core.serial();
        if turn.certificate(&serial.hex()).await?.is_some() {
            return Err(AuthorityError::SerialCollision);
        }
        let from = issuer.validity().not_before;
        let template = profile::template(
            &permit,
            &ask.spki_der,
            &ask.server,
            from,
            &core.config,
            serial,
            now,
        )?;

        // 4. Prepare.
        let prepared = issue::prepare(&template, issuer, authorities.key(ca).algorithm())?;

        //= specs/house.md#house-issuance
        //# A certificate that was not linted MUST NOT be signed.
        // 5. Lint.
        let life = profile::life(ask.purpose, &core.config);
        let about = About { purpose: Some(ask.purpose), name: ask.subject.name(), life, now };
        let certificate = lint(prepared, &about)?;

        if !permit.known_key() {
            turn.put_key(permit.spki_sha256(), permit.subject(), permit.purpose()).await?;
        }
        let known = turn.subject(&ask.subject).await?;
        let before = known.map(|known| known.grants).unwrap_or_default();
        let grants = ask.grants.clone().unwrap_or_else(|| before.clone());
        turn.put_subject(&ask.subject, permit.next_state(), &grants, now).await?;
        let grants = (grants != before).then_some(grants);
        let wish = Wish { ask, item, serial, spki_sha256, grants };
        Ok(Step::Ready(Box::new(Linted { wish, certificate })))
    }

    fn intent(&self, one: &Linted) -> (Kind, Value) {
        let Wish { ask, serial, spki_sha256, .. } = &one.wish;
        let body = json!({
            "subject": ask.subject.to_string(), "purpose": ask.purpose.as_str(),
            "issuer": self.authorities.label(profile::issuer(ask.purpose)),
            "serial": serial.hex(), "spki_sha256": spki_sha256, "request_sha256": ask.request_sha256,
            "tbs_sha256": hex::encode(sha256(one.certificate.tbs())), "by": word(&ask.claim),
        });
        (Kind::IssuanceIntent, body)
    }

    fn sign_one(&self, one: Box<Linted>) -> Result<(Wish, Certificate), AuthorityError> {
        let ca = profile::issuer(one.wish.ask.purpose);
        let (issuer, key) = (self.authorities.certificate(ca), self.authorities.key(ca));
        Ok((one.wish, sign(one.certificate, issuer, key)?))
    }

    async fn put(
        &self,
        turn: &mut Turn,
        wish: Wish,
        certificate: &Certificate,
    ) -> Result<(), AuthorityError> {
        if let Some(item) = &wish.item {
            turn.put_issued(item, wish.ask.subject.name(), &wish.spki_sha256).await?;
        }
        turn.put_certificate(&CertificateRecord {
            issuer: self.authorities.label(profile::issuer(wish.ask.purpose)).to_owned(),
            subject: wish.ask.subject,
            purpose: wish.ask.purpose,
            certificate: certificate.clone(),
            request_sha256: wish.ask.request_sha256,
            key_label: wish.ask.key_label,
            status: CertificateStatus::Active,
            issued_at: self.now,
        })
        .await?;
        Ok(())
    }
}

impl Wish {
    /// What the ledger gets: the certificate, changed grants, and for a batch that the identity was made.
    fn records(&self, certificate: &Certificate) -> Vec<(Kind, Value)> {
        let subject = self.ask.subject.to_string();
        let mut records = vec![(Kind::Issued, issued_body(certificate, self.serial))];
        if let Some(grants) = &self.grants {
            let list: Vec<String> = grants.iter().map(ToString::to_string).collect();
            records.push((Kind::GrantsChanged, json!({"subject": subject, "grants": list})));
        }
        if let Some(item) = &self.item {
            //= specs/en-303-645.md#5.5-8
            //# Provisioning MUST leave a record.
            let body = json!({
                "thing": self.ask.subject.name(), "serial": self.serial.hex(), "fresh": true,
                "batch": item.batch, "station": item.station, "verifier_sha256": item.verifier_sha256,
            });
            records.push((Kind::FactoryIdentity, body));
        }
        records
    }
}

/// An issuing CA, below the root; in the ceremony, and when the CA is rolled.
pub(crate) fn issue_ca(
    signer: &RootSigner,
    permit: &RootPermit,
    label: &str,
    key: &KeyHandle,
    root: &Certificate,
    now: Timestamp,
) -> Result<Certificate, AuthorityError> {
    let (act, root_key) = (permit.act(ActKind::IssuingCa, label)?, signer.key(permit));
    let template = approved(act, key)?;
    let prepared = issue::prepare_ca(&template, key.spki_der(), root, root_key.algorithm())?;
    let about = About { purpose: None, name: &template.common_name, life: None, now };
    sign(lint(prepared, &about)?, root, root_key)
}

/// The next root, certified by the root before: for verifiers that trust that one. Its words are those of the next root's own certificate.
pub(crate) fn cross_certificate(
    signer: &RootSigner,
    permit: &RootPermit,
    label: &str,
    next: &Certificate,
    before: &Certificate,
) -> Result<Certificate, AuthorityError> {
    let (act, key) = (approved_root(permit, label, next)?, signer.key(permit));
    let prepared =
        issue::prepare_cross(&act.template()?, &next.spki_der(), before, key.algorithm())?;
    let expected = prepared.tbs().to_vec();
    let cross = issue::sign(prepared, key)?;
    let whole = issue::tbs(cross.der())? == expected
        && cross.verify_signed_by(before).is_ok()
        && cross.spki_der() == next.spki_der()
        && cross.x509().tbs_certificate().subject() == next.x509().tbs_certificate().subject()
        && cross.subject_key_id() == next.subject_key_id();
    if whole { Ok(cross) } else { Err(AuthorityError::Mismatch) }
}

/// The statement that `next` follows the held root, by the held root's key.
pub(crate) fn root_statement(
    signer: &RootSigner,
    permit: &RootPermit,
    label: &str,
    held: &Anchor,
    next: &Certificate,
) -> Result<Vec<u8>, AuthorityError> {
    let act = approved_root(permit, label, next)?;
    if act.position != Some(held.position + 1) {
        return Err(NotApproved::NotAsked(label.to_owned()).into());
    }
    Ok(anchors::state(held, next, signer.key(permit))?)
}

/// A new root signs itself at its birth. Nobody trusts it before the root before names it, which needs a permit.
pub(crate) fn newborn_root(
    template: &CaTemplate,
    key: &KeyHandle,
) -> Result<Certificate, AuthorityError> {
    checked_root(issue::self_signed_ca(template, key)?, template, key)
}

fn approved_root<'a>(
    permit: &'a RootPermit,
    label: &str,
    next: &Certificate,
) -> Result<&'a Act, AuthorityError> {
    let act = permit.act(ActKind::NextRoot, label)?;
    let print = hex::encode(next.fingerprint());
    if act.certificate_sha256.as_ref() != Some(&print) || act.key_sha256 != next.spki_sha256() {
        return Err(NotApproved::NotAsked(label.to_owned()).into());
    }
    Ok(act)
}

/// The certificate that was approved, if it was for this key.
//= specs/house.md#house-custody
//# A certificate of the root MUST say what its custodians approved, word by word.
fn approved(act: &Act, key: &KeyHandle) -> Result<CaTemplate, AuthorityError> {
    if act.key_sha256 != hex::encode(sha256(key.spki_der())) {
        return Err(NotApproved::NotAsked(act.label.clone()).into());
    }
    Ok(act.template()?)
}

/// A root signs itself; in the ceremony, and when the root is rolled. There is no issuer to lint it against, so its own words are checked.
pub(crate) fn self_signed_root(
    signer: &RootSigner,
    permit: &RootPermit,
    label: &str,
) -> Result<Certificate, AuthorityError> {
    let (act, key) = (permit.act(ActKind::RootCertificate, label)?, signer.key(permit));
    let template = approved(act, key)?;
    checked_root(issue::self_signed_ca(&template, key)?, &template, key)
}

fn checked_root(
    root: Certificate,
    template: &CaTemplate,
    key: &KeyHandle,
) -> Result<Certificate, AuthorityError> {
    let whole = root.verify_signed_by(&root).is_ok()
        && root.spki_der() == key.spki_der()
        && root.subject_cn().as_deref() == Some(template.common_name.as_str());
    if whole { Ok(root) } else { Err(AuthorityError::Mismatch) }
}

/// Signs what was linted, and nothing else.
fn sign(
    linted: LintedCertificate,
    issuer: &Certificate,
    key: &KeyHandle,
) -> Result<Certificate, AuthorityError> {
    //= specs/house.md#house-issuance
    //# A signed certificate MUST be compared with what was linted.
    let expected = linted.tbs().to_vec();
    let certificate = issue::sign(linted.into_prepared(), key)?;
    let same = issue::tbs(certificate.der())? == expected;
    if same && certificate.verify_signed_by(issuer).is_ok() {
        Ok(certificate)
    } else {
        Err(AuthorityError::Mismatch)
    }
}

/// The certificate that answers a repeated request: same subject, purpose and key, still good, and either the very
/// same request, or more than a third of its life left and an issuer that still issues.
async fn again(
    turn: &mut Turn,
    ask: &Ask,
    spki_sha256: &str,
    issuer: &str,
    now: Timestamp,
) -> Result<Option<CertificateRecord>, AuthorityError> {
    let earlier = turn.certificates_of(&ask.subject, ask.purpose).await?;
    Ok(earlier.into_iter().find(|record| {
        let validity = record.certificate.validity();
        let same_request =
            !ask.request_sha256.is_empty() && record.request_sha256 == ask.request_sha256;
        record.is_good(now)
            && record.certificate.spki_sha256() == spki_sha256
            && (same_request || (record.issuer == issuer && !in_renewal(&validity, now)))
    }))
}

/// Whether less than a third of a life is left.
pub(crate) fn in_renewal(validity: &Validity, now: Timestamp) -> bool {
    let life = validity.not_after.since(validity.not_before).as_millis();
    let left = validity.not_after.since(now).as_millis();
    left * u128::from(RENEWAL_PART) < life
}

pub(crate) fn issued_body(certificate: &Certificate, serial: Serial) -> serde_json::Value {
    json!({
        "serial": serial.hex(),
        "certificate_sha256": hex::encode(certificate.fingerprint()),
        "not_after": certificate.validity().not_after.to_rfc3339(),
    })
}

fn word(claim: &Claim) -> &'static str {
    match claim {
        Claim::Local => "operator",
        Claim::Code => "code",
        Claim::Factory => "factory",
        Claim::FactoryIdentity(_) => "idevid",
        Claim::Current(_) => "current",
    }
}

#[cfg(test)]
mod tests;
