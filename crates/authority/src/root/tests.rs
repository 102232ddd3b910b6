//! Approvals judged, and ceremonies and rolls that need them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ops::ControlFlow;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_crypto::custody::CustodianKey;
use countersign_model::time::Timestamp;

use super::*;
use crate::ceremony::{CeremonyOutcome, CeremonyPlan, Step, default_plan, verify_transcript};
use crate::ledger::Kind;
use crate::rotation::Rolled;
use crate::rotation::root::Reached;
use crate::testing::open;
use crate::{Authority, AuthorityError, IssuingCa};

mod requests;
mod withdrawal;

const GO_ON: ControlFlow<()> = ControlFlow::Continue(());

struct People(Vec<CustodianKey>);

impl People {
    fn new() -> Self {
        Self(["alice", "bob", "carol"].map(|name| CustodianKey::generate(name).unwrap()).into())
    }

    /// A plan under which two of them must agree.
    fn plan(&self, keep: &str) -> CeremonyPlan {
        let mut text = default_plan();
        text.push_str("custodians_needed = 2\n");
        text = text.replace("# [root]\n", "").replace("# keep = \"here\"", "");
        text.push_str(&format!("[root]\nkeep = \"{keep}\"\n"));
        for one in &self.0 {
            let key = STANDARD.encode(one.signing().spki_der());
            let share_key = STANDARD.encode(one.wrap().public().as_bytes());
            text.push_str(&format!(
                "[[custodian]]\nname = \"{}\"\nkey = \"{key}\"\nshare_key = \"{share_key}\"\n",
                one.name()
            ));
        }
        CeremonyPlan::from_toml("plan.toml", &text).unwrap()
    }

    fn approve(&self, who: &[usize], request: &RootRequest, now: Timestamp) -> Vec<Vec<u8>> {
        who.iter().map(|who| approve(request, &self.0[*who], now).unwrap()).collect()
    }
}

fn access(file: Option<&Path>, request: &RootRequest, approvals: Vec<Vec<u8>>) -> RootAccess {
    let request = Some(request.to_text().into_bytes());
    RootAccess { file: file.map(Path::to_owned), next: None, request, approvals }
}

async fn asked(authority: &Authority, plan: &CeremonyPlan, file: Option<&Path>) -> RootRequest {
    let access = RootAccess { file: file.map(Path::to_owned), ..RootAccess::default() };
    match authority.ceremony_with(plan, &access, |_| GO_ON).await.unwrap() {
        CeremonyOutcome::Waiting { request, .. } => *request,
        other => panic!("{other:?}"),
    }
}

async fn ready(
    folder: &Path,
    plan: &CeremonyPlan,
    people: &People,
    file: Option<&Path>,
) -> Authority {
    let authority = open(folder).await;
    let request = asked(&authority, plan, file).await;
    let approvals = people.approve(&[0, 2], &request, authority.core.now());
    let access = access(file, &request, approvals);
    let ended = authority.ceremony_with(plan, &access, |_| GO_ON).await.unwrap();
    assert!(matches!(ended, CeremonyOutcome::Finished(_)), "{ended:?}");
    authority
}

//= specs/house.md#house-custody
//= type=test
//# The root MUST NOT sign without the approvals of as many different custodians as the plan says.
//= specs/house.md#house-custody
//= type=test
//# An approval MUST count for one request, until that request expires, and for no other.
#[tokio::test]
async fn approvals_are_judged() {
    let (folder, people) = (tempfile::tempdir().unwrap(), People::new());
    let plan = people.plan("here");
    let authority = open(folder.path()).await;
    let request = asked(&authority, &plan, None).await;
    let (custody, now) = (plan.custody(), authority.core.now());
    let root = request.root_spki_der().to_vec();
    let judged = |approvals: &[Vec<u8>], at| judge(custody, &root, &request, approvals, at);
    let of = |who: &[usize]| people.approve(who, &request, now);

    let permit = judged(&of(&[1, 2]), now).unwrap();
    assert_eq!(permit.by(), ["bob", "carol"]);
    assert!(permit.act(ActKind::IssuingCa, "ldevid-ca").is_ok());
    assert_eq!(
        permit.act(ActKind::IssuingCa, "ldevid-ca-2").unwrap_err(),
        NotApproved::NotAsked("ldevid-ca-2".to_owned())
    );
    let few = |have| NotApproved::TooFew { have, need: 2 };
    assert_eq!(judged(&[], now).unwrap_err(), few(0));
    assert_eq!(judged(&of(&[1]), now).unwrap_err(), few(1));
    assert_eq!(judged(&of(&[1, 1]), now).unwrap_err(), NotApproved::Twice("bob".to_owned()));
    // A stranger with a custodian's name, and a changed approval.
    let stranger = CustodianKey::generate("alice").unwrap();
    match approve(&request, &stranger, now) {
        // In a token there are no shares that they would have to open first.
        Ok(approval) => {
            let refused = judged(&[approval, of(&[1]).remove(0)], now);
            assert_eq!(refused.unwrap_err(), NotApproved::Unknown(1));
        }
        Err(error) => assert!(error.to_string().contains("does not open"), "{error}"),
    }
    let good = of(&[0]).remove(0);
    for at in (0..good.len()).step_by(7) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        let refused = judged(&[bad, of(&[1]).remove(0)], now);
        assert_eq!(refused.unwrap_err(), NotApproved::Unknown(1), "byte {at}");
    }
    // Too late, for another root, under another custody.
    let late = Timestamp(request.expires_at().0 + 1);
    assert_eq!(judged(&of(&[0, 1]), late).unwrap_err(), NotApproved::Expired(request.expires_at()));
    let other = people.0[0].signing().spki_der();
    let refused = judge(custody, other, &request, &of(&[0, 1]), now);
    assert_eq!(refused.unwrap_err(), NotApproved::OtherRoot);
    let others = People::new().plan("here");
    let refused = judge(others.custody(), &root, &request, &of(&[0, 1]), now);
    assert_eq!(refused.unwrap_err(), NotApproved::OtherCustody);
    // Another request of the same root.
    let second = tempfile::tempdir().unwrap();
    let elsewhere = open(second.path()).await;
    let second = asked(&elsewhere, &plan, None).await;
    let foreign = people.approve(&[0, 1], &second, now);
    assert_eq!(judged(&foreign, now).unwrap_err(), NotApproved::OtherRequest("alice".to_owned()));
    // Without custodians there is nothing to judge, and with them nothing goes past them.
    assert_eq!(without_custodians(custody, Vec::new()).unwrap_err(), few(0));
    let nobody = Custody::default();
    assert!(without_custodians(&nobody, Vec::new()).is_ok());
}

//= specs/house.md#house-custody
//= type=test
//# A certificate of the root MUST say what its custodians approved, word by word.
#[tokio::test]
async fn a_changed_request_is_another_request() {
    let (folder, people) = (tempfile::tempdir().unwrap(), People::new());
    let plan = people.plan("here");
    let authority = open(folder.path()).await;
    let request = asked(&authority, &plan, None).await;
    let approvals = people.approve(&[0, 1], &request, authority.core.now());
    for (from, to) in [
        ("Example Manufacturer LDevID CA", "Example Manufacturer LDevID Cb"),
        ("not_after = \"2", "not_after = \"3"),
        ("custodians_needed = 2", "custodians_needed = 1"),
    ] {
        let text = request.to_text();
        assert!(text.contains(from), "{text}");
        let forged = text.replace(from, to);
        let access = RootAccess {
            request: Some(forged.into_bytes()),
            approvals: approvals.clone(),
            ..RootAccess::default()
        };
        let refused = authority.ceremony_with(&plan, &access, |_| GO_ON).await.unwrap_err();
        assert!(
            matches!(
                refused,
                AuthorityError::RootRequest(_) | AuthorityError::Configuration { .. }
            ),
            "{refused}"
        );
    }
    // What is signed says what stood in the request.
    let access = access(None, &request, approvals);
    authority.ceremony_with(&plan, &access, |_| GO_ON).await.unwrap();
    let authorities = authority.authorities().unwrap();
    let certificate = authorities.certificate(IssuingCa::Operation);
    let act = request.acts().iter().find(|act| act.label == "ldevid-ca").unwrap();
    assert_eq!(certificate.serial_hex(), act.serial);
    assert_eq!(certificate.spki_sha256(), act.key_sha256);
    assert_eq!(certificate.validity().not_after.to_rfc3339(), act.not_after);
}

/// As with a token: the root's key is at hand, and the plan says that two of three must agree.
//= specs/house.md#house-custody
//= type=test
//# The root MUST NOT sign without the approvals of as many different custodians as the plan says.
#[tokio::test]
async fn whoever_asks_for_lists_does_not_make_the_root_of_custodians_sign() {
    use crate::status::Scope;
    let (folder, people) = (tempfile::tempdir().unwrap(), People::new());
    let authority = crate::testing::ready(folder.path()).await;
    let scope = Scope::from_path("root.crl").unwrap();
    authority.crl(&scope).await.unwrap();
    assert!(authority.list_issuers().await.unwrap().contains(&"root".to_owned()));
    let plan = crate::ceremony::plan_file(authority.layout());
    std::fs::write(&plan, people.plan("token").to_toml()).unwrap();
    drop(authority);
    let authority = open(folder.path()).await;
    assert!(authority.core.keys.load("root").unwrap().is_some());
    let refused = authority.crl(&scope).await;
    assert!(matches!(refused, Err(AuthorityError::Unknown(_))), "{refused:?}");
    let issuers = authority.list_issuers().await.unwrap();
    assert_eq!(issuers, ["idevid-ca", "ldevid-ca", "service-ca"]);
}

/// Killed before every step, by processes that come with and without approvals.
#[tokio::test]
async fn a_ceremony_with_custodians_is_carried_on_from_every_step() {
    let (folder, people) = (tempfile::tempdir().unwrap(), People::new());
    let away = tempfile::tempdir().unwrap();
    let file = away.path().join("root.sealed");
    let plan = people.plan("file");
    let mut brought = RootAccess { file: Some(file.clone()), ..RootAccess::default() };
    for stop in Step::ALL {
        let authority = open(folder.path()).await;
        let stopping = |step| if step == stop { ControlFlow::Break(()) } else { GO_ON };
        match authority.ceremony_with(&plan, &brought, stopping).await.unwrap() {
            CeremonyOutcome::Stopped(step) => assert_eq!(step, stop),
            CeremonyOutcome::Waiting { request, .. } => {
                let approvals = people.approve(&[1, 2], &request, authority.core.now());
                brought = access(Some(&file), &request, approvals);
            }
            other => panic!("{other:?}"),
        }
    }
    let authority = open(folder.path()).await;
    let ended = authority.ceremony_with(&plan, &brought, |_| GO_ON).await.unwrap();
    let CeremonyOutcome::Finished(transcript) = ended else { panic!("{ended:?}") };
    assert!(transcript.to_string().contains("2 of 3: alice, bob, carol"), "{transcript}");
    let entries = authority.ledger_entries().await.unwrap();
    let count = |kind: Kind| entries.iter().filter(|entry| entry.kind == kind).count();
    assert_eq!((count(Kind::RootRequested), count(Kind::CeremonyFinished)), (1, 1));
    assert_eq!((count(Kind::Transcript), count(Kind::CeremonyStep)), (1, Step::ALL.len() - 2));
    assert!(count(Kind::RootUsed) >= 4);
    authority.authorities().unwrap();
}

//= specs/house.md#house-custody
//= type=test
//# A root that is kept in a file MUST NOT be written into the data folder.
#[tokio::test]
async fn a_root_in_a_file_leaves_nothing_behind() {
    let (folder, people) = (tempfile::tempdir().unwrap(), People::new());
    let away = tempfile::tempdir().unwrap();
    let file = away.path().join("root.sealed");
    let plan = people.plan("file");
    let authority = open(folder.path()).await;
    // Not without a place, and not inside.
    let refused = authority.ceremony_with(&plan, &RootAccess::default(), |_| GO_ON).await;
    assert!(matches!(refused, Err(AuthorityError::RootNeeded(_))), "{refused:?}");
    let inside = RootAccess { file: Some(folder.path().join("root")), ..RootAccess::default() };
    let refused = authority.ceremony_with(&plan, &inside, |_| GO_ON).await.unwrap_err();
    assert!(refused.to_string().contains("outside"), "{refused}");
    let authority = ready(folder.path(), &plan, &people, Some(&file)).await;
    // The sealed key, as it stands at the end of its file, is nowhere in the folder.
    let sealed = std::fs::read(&file).unwrap();
    let needle = &sealed[sealed.len() - 64..];
    for path in every_file(folder.path()) {
        let bytes = match std::fs::read(&path) {
            // A journal or a temporary file that went in the meantime holds nothing any more.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            read => read.unwrap(),
        };
        let found = bytes.windows(needle.len()).any(|window| window == needle);
        assert!(!found, "{}: holds the root's key", path.display());
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        assert!(name != "root.key" && !name.ends_with(".reply"), "{}", path.display());
    }
    // Nobody misses it who does not need it.
    std::fs::rename(&file, away.path().join("moved")).unwrap();
    drop(authority);
    let authority = open(folder.path()).await;
    authority.authorities().unwrap();
    authority.follow_policy(|_| std::future::ready(())).await.unwrap();
}

fn every_file(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        match entry.path() {
            path if path.is_dir() => all.extend(every_file(&path)),
            path => all.push(path),
        }
    }
    all
}

#[tokio::test]
async fn a_roll_needs_custodians_and_their_file() {
    let (folder, people) = (tempfile::tempdir().unwrap(), People::new());
    let away = tempfile::tempdir().unwrap();
    let file = away.path().join("root.sealed");
    let plan = people.plan("file");
    let authority = ready(folder.path(), &plan, &people, Some(&file)).await;
    let ca = IssuingCa::Operation;
    let go_on = |_| GO_ON;
    let alone = authority.prepare_ca(ca, None, go_on).await.unwrap_err();
    assert!(alone.to_string().contains("2 of 3: alice, bob, carol"), "{alone}");
    let (request, _) = authority.request_ca(ca, None).await.unwrap();
    let (again, _) = authority.request_ca(ca, None).await.unwrap();
    assert_eq!(again, request, "asked twice is asked once");
    let now = authority.core.now();
    // One approval is too few, whatever else is there.
    let few = access(Some(&file), &request, people.approve(&[0], &request, now));
    let refused = authority.prepare_ca_with(ca, None, &few, go_on).await.unwrap_err();
    assert!(
        matches!(refused, AuthorityError::NotApproved(NotApproved::TooFew { .. })),
        "{refused}"
    );
    let enough = people.approve(&[0, 1], &request, now);
    // Approvals for this are none for that.
    let mixed = access(Some(&file), &request, enough.clone());
    let refused = authority.prepare_ca_with(IssuingCa::Service, None, &mixed, go_on).await;
    assert!(
        matches!(refused, Err(AuthorityError::NotApproved(NotApproved::NotAsked(_)))),
        "{refused:?}"
    );
    // Without the file.
    let nowhere = away.path().join("nowhere");
    let without = access(Some(&nowhere), &request, enough.clone());
    let refused = authority.prepare_ca_with(ca, None, &without, go_on).await.unwrap_err();
    assert!(refused.to_string().contains("nowhere"), "{refused}");
    // All of it.
    let all = access(Some(&file), &request, enough.clone());
    let rolled = authority.prepare_ca_with(ca, None, &all, go_on).await.unwrap();
    assert_eq!(rolled, Rolled::Done { labels: vec!["ldevid-ca-2".to_owned()] });
    // And a second time they open nothing: what they were sent to is destroyed.
    assert!(!folder.path().join(format!("authority/root/{}.reply", request.id())).exists());
    tokio::time::sleep(crate::rotation::PUBLICATION).await;
    authority.activate_ca(ca, go_on).await.unwrap();
    let refused = authority.prepare_ca_with(ca, None, &all, go_on).await.unwrap_err();
    assert!(matches!(refused, AuthorityError::NotApproved(NotApproved::NotAsked(_))), "{refused}");
    let entries = authority.ledger_entries().await.unwrap();
    let used = entries.iter().rfind(|entry| entry.kind == Kind::RootUsed).unwrap();
    assert_eq!(used.body["by"], serde_json::json!(["alice", "bob"]));
}

/// The next root is made in a file of its own, and named by the present one's custodians; later uses need the new file.
#[tokio::test]
async fn custodians_name_the_next_root() {
    let (folder, people) = (tempfile::tempdir().unwrap(), People::new());
    let away = tempfile::tempdir().unwrap();
    let (file, next) = (away.path().join("root.sealed"), away.path().join("root-2.sealed"));
    let plan = people.plan("file");
    let authority = ready(folder.path(), &plan, &people, Some(&file)).await;
    let go_on = |_| GO_ON;
    let alone = authority.prepare_root(None, &RootAccess::default(), go_on).await.unwrap_err();
    assert!(alone.to_string().contains("--next-root"), "{alone}");
    let place = RootAccess { next: Some(next.clone()), ..RootAccess::default() };
    let (request, _) = authority.request_root(None, &place).await.unwrap();
    assert!(request.to_string().contains("this is the next root"), "{request}");
    let now = authority.core.now();
    let few = access(Some(&file), &request, people.approve(&[1], &request, now));
    let refused = authority.prepare_root(None, &few, go_on).await.unwrap_err();
    assert!(matches!(refused, AuthorityError::NotApproved(_)), "{refused}");
    let enough = access(Some(&file), &request, people.approve(&[1, 2], &request, now));
    authority.prepare_root(None, &enough, go_on).await.unwrap();
    tokio::time::sleep(crate::rotation::PUBLICATION).await;
    authority.activate_root(&Reached::nobody_to_reach(), go_on).await.unwrap();
    assert_eq!(authority.authorities().unwrap().roots().len(), 2);
    // From now on the new file is needed, and the old one is not.
    let ca = IssuingCa::Operation;
    let (request, _) = authority.request_ca(ca, None).await.unwrap();
    let go_on = |_| GO_ON;
    let approvals = people.approve(&[0, 2], &request, authority.core.now());
    let old = access(Some(&file), &request, approvals.clone());
    let refused = authority.prepare_ca_with(ca, None, &old, go_on).await.unwrap_err();
    assert!(refused.to_string().contains("another root"), "{refused}");
    let new = access(Some(&next), &request, approvals);
    authority.prepare_ca_with(ca, None, &new, go_on).await.unwrap();
}

//= specs/house.md#house-custody
//= type=test
//# What will need a root that is not at hand MUST be told with its last day, half a year before that day.
#[tokio::test]
async fn what_will_need_the_root_is_told_in_time() {
    let (folder, people) = (tempfile::tempdir().unwrap(), People::new());
    let plan = people.plan("here");
    ready(folder.path(), &plan, &people, None).await;
    let clock = std::sync::Arc::new(crate::testing::TestClock::default());
    let authority = crate::testing::open_at(folder.path(), clock.clone()).await;
    assert!(authority.root_needs().unwrap().is_empty());
    let day = std::time::Duration::from_secs(86_400);
    clock.forward(day * (3652 - 90 - 90 - 181));
    let needs = authority.root_needs().unwrap();
    let keys: Vec<_> = needs.iter().map(|one| one.key.as_str()).collect();
    assert_eq!(keys, ["service-ca"], "{needs:?}");
    clock.forward(day * 183);
    let followed = authority.follow_policy(|_| std::future::ready(())).await.unwrap();
    assert!(followed.rolled.is_empty());
    let found = followed.findings.iter().find(|one| one.key == "service-ca").unwrap();
    assert!(found.what.contains("not at hand"), "{found:?}");
}

//= specs/house.md#house-custody
//= type=test
//# A stranger with the ledger's public key MUST be able to verify a ceremony's transcript.
#[tokio::test]
async fn a_transcript_is_verified_by_a_stranger_and_written_again_when_lost() {
    let (folder, people) = (tempfile::tempdir().unwrap(), People::new());
    let plan = people.plan("here");
    let authority = ready(folder.path(), &plan, &people, None).await;
    let path = authority.layout().transcript();
    let bytes = std::fs::read(&path).unwrap();
    let key = authority.ledger_key();
    let text = verify_transcript(&bytes, &key).unwrap();
    for word in ["2 of 3", "alice", "approval", "software", "root key", "ldevid-ca certificate"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let changed = String::from_utf8(bytes.clone()).unwrap().replace("bob", "eve");
    assert!(verify_transcript(changed.as_bytes(), &key).is_err());
    let other = tempfile::tempdir().unwrap();
    assert!(verify_transcript(&bytes, &open(other.path()).await.ledger_key()).is_err());
    std::fs::remove_file(&path).unwrap();
    authority.ceremony(&plan, |_| GO_ON).await.unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    let entries = authority.ledger_entries().await.unwrap();
    let entry = entries.iter().find(|entry| entry.kind == Kind::Transcript).unwrap();
    let hash = hex::encode(countersign_crypto::digest::sha256(&bytes));
    assert_eq!(entry.body["transcript_sha256"], hash);
}

#[test]
fn plans_with_impossible_custodies_are_refused() {
    let people = People::new();
    let good = people.plan("here").to_toml();
    let again = CeremonyPlan::from_toml("plan.toml", &good).unwrap();
    assert_eq!(again.custody().digest(), people.plan("file").custody().digest());
    for (from, to, expected) in [
        ("custodians_needed = 2", "custodians_needed = 4", "1 to the 3"),
        ("custodians_needed = 2", "custodians_needed = 0", "1 to the 3"),
        ("custodians_needed = 2", "", "1 to the 3"),
        ("name = \"bob\"", "name = \"Alice\"", "twice"),
        ("key = \"", "key = \"!", "base64"),
    ] {
        let refused = CeremonyPlan::from_toml("plan.toml", &good.replacen(from, to, 1));
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains(expected), "{refused}");
    }
    let text = default_plan() + "\ncustodians_needed = 1\n";
    let refused = CeremonyPlan::from_toml("plan.toml", &text).unwrap_err().to_string();
    assert!(refused.contains("names no custodian"), "{refused}");
}
