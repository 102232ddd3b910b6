//! Old roots, withdrawn by the custodians of the one that signs.

use super::*;
use crate::rotation::root::RootRolled;

/// Devices let go of old roots only when enough custodians of the one that signs say so.
#[tokio::test]
async fn custodians_withdraw_old_roots() {
    let (folder, people) = (tempfile::tempdir().unwrap(), People::new());
    let away = tempfile::tempdir().unwrap();
    let (file, next) = (away.path().join("root.sealed"), away.path().join("root-2.sealed"));
    let authority = ready(folder.path(), &people.plan("file"), &people, Some(&file)).await;
    let nothing = authority.request_withdrawal().await.unwrap_err().to_string();
    assert!(nothing.contains("no root before root is an anchor"), "{nothing}");
    let place = RootAccess { next: Some(next.clone()), ..RootAccess::default() };
    let (request, _) = authority.request_root(None, &place).await.unwrap();
    let approvals = people.approve(&[0, 1], &request, authority.core.now());
    let all = access(Some(&file), &request, approvals);
    authority.prepare_root(None, &all, |_| GO_ON).await.unwrap();
    tokio::time::sleep(crate::rotation::PUBLICATION).await;
    authority.activate_root(&Reached::nobody_to_reach(), |_| GO_ON).await.unwrap();
    for ca in IssuingCa::ALL {
        let (request, _) = authority.request_ca(ca, None).await.unwrap();
        let approvals = people.approve(&[0, 1], &request, authority.core.now());
        let all = access(Some(&next), &request, approvals);
        authority.prepare_ca_with(ca, None, &all, |_| GO_ON).await.unwrap();
        tokio::time::sleep(crate::rotation::PUBLICATION).await;
        authority.activate_ca(ca, |_| GO_ON).await.unwrap();
    }
    let reached = Reached::nobody_to_reach();
    let (request, _) = authority.request_withdrawal().await.unwrap();
    let shown = request.to_string();
    assert!(shown.contains("no root before this one is an anchor any more"), "{shown}");
    assert!(shown.contains("position     1"), "{shown}");
    let now = authority.core.now();
    let few = access(Some(&next), &request, people.approve(&[1], &request, now));
    // What they approved for another purpose does not count.
    let (other, _) = authority.request_ca(IssuingCa::Service, None).await.unwrap();
    let other = access(Some(&next), &other, people.approve(&[0, 1], &other, now));
    for lacking in [RootAccess::default(), few, other] {
        let refused = authority.withdraw_roots(&reached, &lacking, |_| GO_ON).await.unwrap_err();
        let expected =
            matches!(refused, AuthorityError::NotApproved(_) | AuthorityError::RootNeeded(_));
        assert!(expected, "{refused}");
        assert_eq!(authority.stated_roots().await.unwrap().withdrawal, None);
    }
    let all = access(Some(&next), &request, people.approve(&[1, 2], &request, now));
    let done = authority.withdraw_roots(&reached, &all, |_| GO_ON).await.unwrap();
    assert_eq!(done, RootRolled::Done(Some("root-2".to_owned())));
    let entries = authority.ledger_entries().await.unwrap();
    let used = entries.iter().rfind(|entry| entry.kind == Kind::RootUsed).unwrap();
    assert_eq!(used.body["by"], serde_json::json!(["bob", "carol"]));
    assert!(!folder.path().join(format!("authority/root/{}.request", request.id())).exists());
}
