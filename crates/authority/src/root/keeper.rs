//! Where the root's key is, and how it comes to be at hand.
//!
//! ```text
//!  keep = "here"   without custodians: in the keystore          with them: authority/root/root.vault, which M of N open
//!  keep = "file"   in the file that --root names, outside of this folder; here stays only what custodians' shares are wrapped in
//!  keep = "token"  in the PKCS#11 token, which lets nothing out: custodians are then a rule of this program
//! ```

use std::path::{Path, PathBuf};

use countersign_crypto::certificate::Certificate;
use countersign_crypto::custody::{Parts, Vault, WrapKey};
use countersign_crypto::file;
use countersign_crypto::issue::CaTemplate;
use countersign_crypto::signature::SignatureAlgorithm;
use countersign_model::time::Timestamp;
use serde_json::json;

use super::approval::opened;
use super::judge::{NotApproved, RootPermit, judge, without_custodians};
use super::request::{Act, Ask, RootRequest};
use super::signer::RootSigner;
use crate::authority::{Core, Layout};
use crate::ceremony::{CeremonyPlan, Keep};
use crate::error::AuthorityError;
use crate::issuance;
use crate::ledger::Kind;

/// The most requests that lie in a folder; older ones go with the next.
const MAX_REQUESTS: usize = 64;

/// What somebody brings who wants the root to sign.
#[derive(Debug, Clone, Default)]
pub struct RootAccess {
    /// The root's file, where the plan keeps it in one.
    pub file: Option<PathBuf>,
    /// The file for the next root, when the root is rolled.
    pub next: Option<PathBuf>,
    /// The request that was approved.
    pub request: Option<Vec<u8>>,
    /// The approvals.
    pub approvals: Vec<Vec<u8>>,
}

/// Something that only the root can mend, and until when.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct RootNeed {
    /// What needs it: a CA's label.
    pub key: String,
    /// The last day on which it is in time, RFC 3339.
    pub before: String,
    /// Why, and the mend.
    pub what: String,
}

impl Layout {
    fn root_folder(&self) -> PathBuf {
        self.authority().join("root")
    }
    fn public_vault(&self, label: &str) -> PathBuf {
        self.root_folder().join(format!("{label}.public"))
    }
    fn request(&self, id: &str) -> PathBuf {
        self.root_folder().join(format!("{id}.request"))
    }
    fn reply(&self, id: &str) -> PathBuf {
        self.root_folder().join(format!("{id}.reply"))
    }
}

impl Core {
    /// The vault's file; `None` where the key is in the keystore.
    fn vault(
        &self,
        plan: &CeremonyPlan,
        label: &str,
        access: &RootAccess,
    ) -> Result<Option<PathBuf>, AuthorityError> {
        let in_token = self.config.token().is_some();
        match plan.keep() {
            Keep::Token if in_token => Ok(None),
            Keep::Token => Err(refused(
                "root.keep = \"token\": no token is configured: add [authority.token] to config.toml, or keep the root elsewhere",
            )),
            Keep::Here if in_token || !plan.custody().is_held() => Ok(None),
            Keep::Here => Ok(Some(self.layout.root_folder().join(format!("{label}.vault")))),
            Keep::File => {
                let path = access.file.clone().ok_or_else(|| {
                    AuthorityError::RootNeeded(
                        "the plan keeps the root in a file of its own: name it with --root FILE"
                            .to_owned(),
                    )
                })?;
                self.outside(&path)?;
                Ok(Some(path))
            }
        }
    }

    /// Whether a path lies outside of the data folder, through links too.
    fn outside(&self, path: &Path) -> Result<(), AuthorityError> {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        let parent = std::fs::canonicalize(parent).map_err(AuthorityError::io(parent))?;
        let authority = self.layout.authority();
        let data = authority.parent().unwrap_or(&authority);
        let data = std::fs::canonicalize(data).map_err(AuthorityError::io(data))?;
        if parent.starts_with(&data) {
            return Err(refused(format!(
                "--root {}: lies in the data folder, which the root is to leave: name a place outside of it",
                path.display()
            )));
        }
        Ok(())
    }

    /// The root's key, made where the plan keeps it unless it is there: its algorithm and public half.
    //= specs/house.md#house-custody
    //# A root that is kept in a file MUST NOT be written into the data folder.
    pub(crate) fn make_root(
        &self,
        plan: &CeremonyPlan,
        label: &str,
        algorithm: SignatureAlgorithm,
        access: &RootAccess,
    ) -> Result<(SignatureAlgorithm, Vec<u8>), AuthorityError> {
        let public = self.layout.public_vault(label);
        if public.exists() {
            let known = read_vault(&public)?;
            return Ok((known.algorithm(), known.spki_der().to_vec()));
        }
        let Some(path) = self.vault(plan, label, access)? else {
            let key = match self.keys.load(label)? {
                Some(key) => key,
                None => self.keys.generate(label, algorithm)?,
            };
            return Ok((key.algorithm(), key.spki_der().to_vec()));
        };
        let folder = self.layout.root_folder();
        file::private_folder(&folder).map_err(AuthorityError::io(&folder))?;
        // What a killed run left is taken where it is of this folder and this custody.
        let custody = plan.custody();
        if !path.exists() {
            let (needed, holders) = (custody.needed(), custody.holders());
            let vault = self.with_random(|random| {
                Vault::make(algorithm, &self.seal, needed, &holders, random)
            })?;
            file::create_new(&path, &vault.to_bytes(), file::PRIVATE)
                .map_err(AuthorityError::io(&path))?;
        }
        let vault = read_vault(&path)?;
        if !vault.is_of(&self.seal) || !vault.is_held_by(custody.needed(), &custody.holders()) {
            return Err(refused(format!(
                "--root {}: holds a root of another folder or of other custodians: name another file",
                path.display()
            )));
        }
        let kept = vault.without_key().to_bytes();
        file::write_atomic(&public, &kept, file::PRIVATE).map_err(AuthorityError::io(&public))?;
        Ok((vault.algorithm(), vault.spki_der().to_vec()))
    }

    /// Makes the next root where the plan keeps the root, and lets it sign its own certificate. What a run left that was killed before the
    /// certificate was written is thrown away: nobody can open it alone, and nothing hangs on it.
    pub(crate) fn bear_root(
        &self,
        plan: &CeremonyPlan,
        label: &str,
        algorithm: SignatureAlgorithm,
        access: &RootAccess,
        template: &CaTemplate,
    ) -> Result<Certificate, AuthorityError> {
        let place = RootAccess { file: access.next.clone(), ..RootAccess::default() };
        let place = match self.vault(plan, label, &place) {
            Err(AuthorityError::RootNeeded(_)) => {
                return Err(AuthorityError::RootNeeded(
                    "the plan keeps the root in a file of its own: name one for the next root with --next-root FILE".to_owned(),
                ));
            }
            place => place?,
        };
        let Some(path) = place else {
            let key = match self.keys.load(label)? {
                Some(key) if key.algorithm() == algorithm => key,
                Some(_) => {
                    self.keys.destroy(label)?;
                    self.keys.generate(label, algorithm)?
                }
                None => self.keys.generate(label, algorithm)?,
            };
            return issuance::newborn_root(template, &key);
        };
        let public = self.layout.public_vault(label);
        let folder = self.layout.root_folder();
        file::private_folder(&folder).map_err(AuthorityError::io(&folder))?;
        if path.exists() {
            let left = read_vault(&path)?;
            let ours = public.exists() && read_vault(&public)?.spki_der() == left.spki_der();
            if !ours && plan.keep() == Keep::File {
                return Err(refused(format!(
                    "--next-root {}: exists and is not what an earlier run of this left: name another file",
                    path.display()
                )));
            }
            std::fs::remove_file(&path).map_err(AuthorityError::io(&path))?;
        }
        let custody = plan.custody();
        let (needed, holders) = (custody.needed(), custody.holders());
        let (vault, key) = self.with_random(|random| {
            Vault::make_with(algorithm, &self.seal, needed, &holders, random)
        })?;
        // The public half first: it tells the next run that the file is ours.
        let kept = vault.without_key().to_bytes();
        file::write_atomic(&public, &kept, file::PRIVATE).map_err(AuthorityError::io(&public))?;
        file::create_new(&path, &vault.to_bytes(), file::PRIVATE)
            .map_err(AuthorityError::io(&path))?;
        issuance::newborn_root(template, &key)
    }

    /// Destroys a root's key where it is here. One in a file elsewhere is destroyed by its keepers.
    pub(crate) fn destroy_root(&self, label: &str) -> Result<(), AuthorityError> {
        let here = self.layout.root_folder().join(format!("{label}.vault"));
        file::destroy(&here).map_err(AuthorityError::io(&here))?;
        if !self.layout.public_vault(label).exists() {
            self.keys.destroy(label)?;
        }
        Ok(())
    }

    /// The root's public half.
    pub(crate) fn root_spki(&self, label: &str) -> Result<Vec<u8>, AuthorityError> {
        let public = self.layout.public_vault(label);
        if public.exists() {
            return Ok(read_vault(&public)?.spki_der().to_vec());
        }
        Ok(self.keys.require(label)?.spki_der().to_vec())
    }

    /// Whether this process alone can use the root: it asks nobody and needs no file.
    pub(crate) fn root_is_at_hand(&self, plan: &CeremonyPlan) -> bool {
        !plan.custody().is_held() && plan.keep() != Keep::File
    }

    /// A request for these signatures; the one that is there already where it asks for the same and is not over.
    pub(crate) async fn ask_root(
        &self,
        plan: &CeremonyPlan,
        label: &str,
        purpose: &str,
        acts: impl FnOnce() -> Result<Vec<Act>, AuthorityError>,
    ) -> Result<RootRequest, AuthorityError> {
        let folder = self.layout.root_folder();
        file::private_folder(&folder).map_err(AuthorityError::io(&folder))?;
        let now = self.now();
        let pending = self.requests()?;
        let same = |one: &&RootRequest| one.purpose() == purpose && now <= one.expires_at();
        if let Some(known) = pending.iter().find(same) {
            return Ok(known.clone());
        }
        for over in pending.iter().filter(|one| now > one.expires_at()) {
            self.forget_request(over.id())?;
        }
        if pending.len() >= MAX_REQUESTS {
            return Err(refused(format!(
                "{}: too many requests: remove old ones",
                folder.display()
            )));
        }
        // 1. Who answers needs a key to answer to, where there are shares.
        let id = hex::encode(self.with_random(|random| random.array::<8>()));
        let public = self.layout.public_vault(label);
        let vault = public.exists().then(|| read_vault(&public)).transpose()?;
        let reply = match vault.as_ref().filter(|vault| vault.needed() > 0) {
            None => None,
            Some(_) => {
                let key = WrapKey::generate().map_err(|error| refused(error.to_string()))?;
                let sealed = self.with_random(|random| key.sealed(&self.seal, random));
                let path = self.layout.reply(&id);
                let sealed = sealed.map_err(|error| refused(error.to_string()))?;
                file::create_new(&path, &sealed, file::PRIVATE)
                    .map_err(AuthorityError::io(&path))?;
                Some(key)
            }
        };
        // 2. The request, in the ledger before anybody sees it.
        let ask = Ask {
            purpose: purpose.to_owned(),
            id,
            root_spki_der: &self.root_spki(label)?,
            custody: plan.custody(),
            reply_key: reply.as_ref().map(WrapKey::public),
            shares: vault.as_ref().map(Vault::parts).unwrap_or_default(),
            acts: acts()?,
            now,
        };
        let request = RootRequest::make(ask, |text| self.ledger.sign_note(text))?;
        let labels: Vec<_> = request.acts().iter().map(|act| act.label.as_str()).collect();
        let body = json!({
            "id": request.id(), "purpose": purpose, "signs": labels, "request_sha256": hex::encode(request.digest()),
            "expires": request.expires_at().to_rfc3339(),
        });
        self.record(Kind::RootRequested, body).await?;
        let path = self.layout.request(request.id());
        file::create_new(&path, request.to_text().as_bytes(), file::PUBLIC)
            .map_err(AuthorityError::io(&path))?;
        Ok(request)
    }

    /// Where a request lies.
    pub(crate) fn request_file(&self, request: &RootRequest) -> PathBuf {
        self.layout.request(request.id())
    }

    fn requests(&self) -> Result<Vec<RootRequest>, AuthorityError> {
        let folder = self.layout.root_folder();
        let mut all = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(AuthorityError::io(&folder))?.flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|ending| ending == "request") {
                let bytes = std::fs::read(&path).map_err(AuthorityError::io(&path))?;
                let damaged = |error: super::RequestError| AuthorityError::Damaged {
                    path: path.clone(),
                    detail: error.to_string(),
                };
                all.push(RootRequest::parse(&bytes).map_err(damaged)?);
            }
        }
        Ok(all)
    }

    /// The permit for what is to be signed now: from the approvals that were brought, or, without custodians, for `acts`.
    pub(crate) fn root_permit(
        &self,
        plan: &CeremonyPlan,
        label: &str,
        access: &RootAccess,
        acts: impl FnOnce() -> Result<Vec<Act>, AuthorityError>,
    ) -> Result<RootPermit, AuthorityError> {
        if !plan.custody().is_held() {
            return Ok(without_custodians(plan.custody(), acts()?)?);
        }
        let Some(bytes) = &access.request else {
            let custody = plan.custody();
            return Err(AuthorityError::RootNeeded(format!(
                "the root is used by its custodians ({custody}): make a request with `countersign authority root request`, let {} approve it, and give --request and --approval",
                custody.needed()
            )));
        };
        let request = RootRequest::parse(bytes)?;
        if !request.signed_by(self.ledger.verifier())? {
            return Err(refused("the request was not made by the authority of this folder"));
        }
        let root = self.root_spki(label)?;
        Ok(judge(plan.custody(), &root, &request, &access.approvals, self.now())?)
    }

    /// The root's key for that permit. What it is used for is in the ledger before it is.
    pub(crate) async fn root_signer(
        &self,
        plan: &CeremonyPlan,
        label: &str,
        access: &RootAccess,
        permit: &RootPermit,
        signs: &str,
    ) -> Result<RootSigner, AuthorityError> {
        let key = match self.vault(plan, label, access)? {
            None => self.keys.require(label)?,
            Some(path) => {
                let vault = read_vault(&path)?;
                if vault.spki_der() != self.root_spki(label)? {
                    return Err(refused(format!(
                        "{}: holds another root than the one of this folder",
                        path.display()
                    )));
                }
                vault.open(&self.seal, &self.shares(permit, access)?)?
            }
        };
        let body = json!({
            "signs": signs, "by": permit.by(), "request_sha256": permit.request(), "root": label,
        });
        self.record(Kind::RootUsed, body).await?;
        Ok(RootSigner::new(key))
    }

    fn shares(
        &self,
        permit: &RootPermit,
        access: &RootAccess,
    ) -> Result<Vec<Parts>, AuthorityError> {
        if permit.shares().is_empty() {
            return Ok(Vec::new());
        }
        let Some(bytes) = &access.request else { return Ok(Vec::new()) };
        let path = self.layout.reply(RootRequest::parse(bytes)?.id());
        let sealed = std::fs::read(&path).map_err(|_| {
            AuthorityError::RootNeeded(
                "the key to which custodians answered this request is gone: it was used to its end, or made in another folder; make a new request".to_owned(),
            )
        })?;
        let damaged = || AuthorityError::Damaged {
            path: path.clone(),
            detail: "it does not open".to_owned(),
        };
        let reply = WrapKey::open(&self.seal, &sealed).map_err(|_| damaged())?;
        let open = |(place, approval): &(u8, super::Approval)| {
            opened(approval, *place, &reply).ok_or_else(|| {
                AuthorityError::from(NotApproved::OtherRequest(approval.name.clone()))
            })
        };
        permit.shares().iter().map(open).collect()
    }

    /// Ends a request: the key to which shares were sent is destroyed, so that its approvals open nothing any more.
    pub(crate) fn forget_request(&self, id: &str) -> Result<(), AuthorityError> {
        for path in [self.layout.reply(id), self.layout.request(id)] {
            file::destroy(&path).map_err(AuthorityError::io(&path))?;
        }
        Ok(())
    }

    /// Ends the request that was brought, if one was and it is ours and for what is done: the certificate of `label`, made now or by
    /// a run that was killed before it came here.
    pub(crate) fn used_up(&self, access: &RootAccess, label: &str) -> Result<(), AuthorityError> {
        let Some(bytes) = &access.request else { return Ok(()) };
        let request = RootRequest::parse(bytes)?;
        let done = request.acts().iter().any(|act| act.label == label);
        match done && request.signed_by(self.ledger.verifier())? {
            true => self.forget_request(request.id()),
            false => Ok(()),
        }
    }
}

/// When a need of the root is to be met, for people.
pub(crate) fn need(key: &str, before: Timestamp, what: String) -> RootNeed {
    RootNeed { key: key.to_owned(), before: before.to_rfc3339(), what }
}

fn read_vault(path: &Path) -> Result<Vault, AuthorityError> {
    let bytes = std::fs::read(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => AuthorityError::RootNeeded(format!(
            "{}: the root's file is not there: bring it, or name the right one with --root FILE",
            path.display()
        )),
        _ => AuthorityError::Io { path: path.to_owned(), source: error },
    })?;
    Vault::parse(&bytes).map_err(|error| AuthorityError::Damaged {
        path: path.to_owned(),
        detail: error.to_string(),
    })
}

fn refused(detail: impl Into<String>) -> AuthorityError {
    AuthorityError::Configuration { file: "root".to_owned(), detail: detail.into() }
}
