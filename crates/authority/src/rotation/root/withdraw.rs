//! Withdrawing old roots: the root that signs says that anchors begin with it, so that devices let go of those before.
//!
//! ```text
//!  withdraw ── nothing in use hangs below the old ones alone, devices have the new one ─► its word, in `ca/LABEL.withdrawal.cose`
//!             ─► recorded: told to devices; roots.pem and new devices have the roots from it on
//! ```
//!
//! What stays: the old roots' certificates in `device-roots.pem`, since factory identities hang below them and labels name them; the
//! cross-certificates, by which whoever slept verifies a server and is told; and what old issuing CAs issued, which verifiers judge by
//! the CA (`docs/decisions/0007-kind-by-issuing-authority.md`).

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use countersign_crypto::anchors::{Anchor, Withdrawal};
use countersign_crypto::file;
use serde_json::json;

use super::{Reached, RootRolled, RootStep, roots};
use crate::authorities::{self, IssuingCa, certificate_file};
use crate::authority::{Authority, Layout};
use crate::error::AuthorityError;
use crate::issuance;
use crate::root::{Act, RootAccess, RootRequest};
use crate::rotation::{KeyState, refused};
use crate::store::RootRow;

impl Layout {
    /// Every root of the maker, for whoever verifies devices' factory identities; [`Layout::roots`] is for whoever verifies servers.
    #[must_use]
    pub fn device_roots(&self) -> PathBuf {
        self.roots().with_file_name("device-roots.pem")
    }
}

/// Where a root's word lies that anchors begin with it.
fn withdrawal_file(folder: &Path, label: &str) -> PathBuf {
    folder.join("ca").join(format!("{label}.withdrawal.cose"))
}

impl Authority {
    /// Asks the custodians of the root that signs to withdraw those before it.
    ///
    /// # Errors
    /// [`AuthorityError::Configuration`] where the plan names no custodians, or there is nothing to withdraw.
    pub async fn request_withdrawal(&self) -> Result<(RootRequest, PathBuf), AuthorityError> {
        let (core, plan) = (&self.core, self.custodians_plan()?);
        core.authorities()?;
        let mut turn = core.store.exclusive().await?;
        let (first, before) = due(roots(turn.issuing().await?.roots))?;
        if before.is_empty() {
            return Err(refused(format!("no root before {} is an anchor", first.label)));
        }
        let at = self.anchor(&first)?;
        let purpose = format!("the roots before {} withdrawn", first.label);
        let acts = || Ok(vec![Act::withdrawal(&first.label, &plan, &at)]);
        let request = core.ask_root(&plan, &first.label, &purpose, acts).await?;
        drop(turn);
        let file = core.request_file(&request);
        Ok((request, file))
    }

    /// Lets the root that signs withdraw those before it, where nobody is lost by that: devices are told, `roots.pem` and new devices
    /// have the others only. Done before: nothing is done.
    ///
    /// # Errors
    /// [`AuthorityError::RootNeeded`], [`AuthorityError::NotApproved`].
    //= specs/house.md#house-anchors
    //# A crash at any point of a withdrawal MUST leave every device able to connect.
    pub async fn withdraw_roots(
        &self,
        reached: &Reached,
        access: &RootAccess,
        mut progress: impl FnMut(RootStep) -> ControlFlow<()> + Send,
    ) -> Result<RootRolled, AuthorityError> {
        let (core, plan) = (&self.core, self.plan()?);
        core.authorities()?;
        let mut turn = core.store.exclusive().await?;
        let recorded = turn.issuing().await?;
        let authorities = core.authorities_as(&recorded)?;
        let (first, before) = due(roots(recorded.roots))?;
        if before.is_empty() {
            drop(turn);
            self.publish_roots()?;
            core.used_up(access, &first.label)?;
            return Ok(RootRolled::Done(None));
        }
        let now = core.now();
        //= specs/house.md#house-anchors
        //# Roots MUST NOT be withdrawn while an issuing CA or a server in use can be verified by them alone.
        // 1. Nothing in use is verified by them alone.
        let (mut needed, mut serving) = (Vec::new(), Vec::new());
        for row in &before {
            needed.extend(authorities.issuing_below(&row.label));
            for label in authorities.verifying_below(&row.label, IssuingCa::Service) {
                serving.extend(turn.servers_without_successor(&label, now).await?);
            }
        }
        if !needed.is_empty() {
            return Ok(RootRolled::Needed(needed));
        }
        if !serving.is_empty() {
            serving.sort();
            serving.dedup();
            return Ok(RootRolled::Serving(serving));
        }
        //= specs/house.md#house-anchors
        //# Roots MUST NOT be withdrawn while more devices that were seen lately have not acknowledged a later one than somebody allowed.
        if !reached.is_enough() {
            return Ok(RootRolled::Unacknowledged(reached.missing.clone()));
        }
        // 2. Its word: what a killed run left is taken.
        if progress(RootStep::Withdraw).is_break() {
            return Ok(RootRolled::Stopped(RootStep::Withdraw));
        }
        let at = self.anchor(&first)?;
        let path = withdrawal_file(&core.layout.authority(), &first.label);
        if !path.exists() {
            let acts = || Ok(vec![Act::withdrawal(&first.label, &plan, &at)]);
            let permit = core.root_permit(&plan, &first.label, access, acts)?;
            let signs = format!("withdrawal before {}", first.label);
            let signer = core.root_signer(&plan, &first.label, access, &permit, &signs).await?;
            let word = issuance::root_withdrawal(&signer, &permit, &first.label, &at)?;
            file::write_atomic(&path, &word, file::PUBLIC).map_err(AuthorityError::io(&path))?;
        }
        self.word_of(&at, &first.label)?;
        // 3. Devices, and whoever is given roots from now on.
        if progress(RootStep::Forget).is_break() {
            return Ok(RootRolled::Stopped(RootStep::Forget));
        }
        let labels: Vec<&str> = before.iter().map(|row| row.label.as_str()).collect();
        let facts =
            json!({"roots": labels, "position": first.position, "reached": reached.facts()});
        self.root_told(&first.label, "withdrew", &facts).await?;
        for row in &before {
            turn.put_root(&RootRow { withdrawn: Some(now), ..row.clone() }).await?;
        }
        self.settle_roots(turn).await?;
        core.used_up(access, &first.label)?;
        Ok(RootRolled::Done(Some(first.label)))
    }

    /// The newest withdrawal that is recorded: what a killed run signed is told when it is carried on.
    pub(super) fn stated_withdrawal(
        &self,
        recorded: &[RootRow],
    ) -> Result<Option<Vec<u8>>, AuthorityError> {
        let last = recorded.iter().rposition(|row| row.withdrawn.is_some());
        let Some(first) = last.and_then(|last| recorded.get(last + 1)) else { return Ok(None) };
        Ok(Some(self.word_of(&self.anchor(first)?, &first.label)?))
    }

    fn anchor(&self, row: &RootRow) -> Result<Anchor, AuthorityError> {
        let root = authorities::read(&certificate_file(&self.core.layout.authority(), &row.label))?;
        Ok(Anchor { position: row.position, root })
    }

    /// The word that anchors begin with that root, if the file holds it.
    fn word_of(&self, first: &Anchor, label: &str) -> Result<Vec<u8>, AuthorityError> {
        let path = withdrawal_file(&self.core.layout.authority(), label);
        let word = std::fs::read(&path).map_err(AuthorityError::io(&path))?;
        let by = Withdrawal::read(&word).and_then(|read| read.by(&first.root));
        match by.is_ok_and(|by| by == *first) {
            true => Ok(word),
            false => Err(AuthorityError::Damaged {
                path,
                detail: "it is not that root's withdrawal of those before it".to_owned(),
            }),
        }
    }
}

/// The root that signs, and those before it that are still anchors.
fn due(rows: Vec<RootRow>) -> Result<(RootRow, Vec<RootRow>), AuthorityError> {
    let first = rows.iter().find(|row| row.state == KeyState::Active).cloned();
    let first = first.ok_or_else(|| refused("no root is active".to_owned()))?;
    let mut before = rows;
    before.retain(|row| row.position < first.position && row.withdrawn.is_none());
    Ok((first, before))
}
