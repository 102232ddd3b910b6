//! Where a request for the root's use ends, and what of the root is destroyed.

use super::*;

/// A file of the root's folder as it was before a step, so that it is as if the step was killed at its end.
struct Left(std::path::PathBuf, Option<Vec<u8>>);

impl Left {
    fn of(folder: &Path, request: &RootRequest) -> [Self; 2] {
        let file = |ending| folder.join(format!("authority/root/{}.{ending}", request.id()));
        ["reply", "request"].map(|ending| Self(file(ending), std::fs::read(file(ending)).ok()))
    }

    fn put_back(&self) {
        assert!(!self.0.exists(), "{}: was ended", self.0.display());
        if let Some(bytes) = &self.1 {
            std::fs::write(&self.0, bytes).unwrap();
        }
    }
}

/// Killed when all was done but the request's end: whoever asks again ends it, and no other.
#[tokio::test]
async fn a_request_ends_however_often_its_step_is_asked_for() {
    let (folder, people) = (tempfile::tempdir().unwrap(), People::new());
    let plan = people.plan("here");
    let authority = open(folder.path()).await;
    let request = asked(&authority, &plan, None).await;
    let left = Left::of(folder.path(), &request);
    let first = access(None, &request, people.approve(&[0, 1], &request, authority.core.now()));
    authority.ceremony_with(&plan, &first, |_| GO_ON).await.unwrap();
    left.iter().for_each(Left::put_back);
    authority.ceremony_with(&plan, &first, |_| GO_ON).await.unwrap();
    assert!(left.iter().all(|one| !one.0.exists()), "the ceremony's");

    let (ca, other) = (IssuingCa::Operation, IssuingCa::Service);
    let (request, _) = authority.request_ca(ca, None).await.unwrap();
    let (for_other, _) = authority.request_ca(other, None).await.unwrap();
    let left = Left::of(folder.path(), &request);
    let all = access(None, &request, people.approve(&[0, 1], &request, authority.core.now()));
    authority.prepare_ca_with(ca, None, &all, |_| GO_ON).await.unwrap();
    left.iter().for_each(Left::put_back);
    let not_this = access(None, &for_other, Vec::new());
    authority.prepare_ca_with(ca, None, &not_this, |_| GO_ON).await.unwrap();
    assert!(authority.core.request_file(&for_other).exists(), "it was for another");
    authority.prepare_ca_with(ca, None, &all, |_| GO_ON).await.unwrap();
    assert!(left.iter().all(|one| !one.0.exists()), "the issuing CA's");

    let (request, _) = authority.request_root(None, &RootAccess::default()).await.unwrap();
    let left = Left::of(folder.path(), &request);
    let all = access(None, &request, people.approve(&[0, 1], &request, authority.core.now()));
    authority.prepare_root(None, &all, |_| GO_ON).await.unwrap();
    left.iter().for_each(Left::put_back);
    authority.prepare_root(None, &all, |_| GO_ON).await.unwrap();
    assert!(left.iter().all(|one| !one.0.exists()), "the root's");
}

/// Whoever holds the file open, or a second name of it, reads zeros; and what cannot be destroyed is not said to be.
#[tokio::test]
async fn what_opens_the_root_is_overwritten_before_it_goes() {
    let (folder, people) = (tempfile::tempdir().unwrap(), People::new());
    let plan = people.plan("here");
    let authority = open(folder.path()).await;
    let request = asked(&authority, &plan, None).await;
    let [reply, _] = Left::of(folder.path(), &request);
    let vault = folder.path().join("authority/root/root.vault");
    if authority.core.config.token().is_some() {
        return;
    }
    let names = [folder.path().join("reply"), folder.path().join("vault")];
    std::fs::hard_link(&reply.0, &names[0]).unwrap();
    std::fs::hard_link(&vault, &names[1]).unwrap();
    authority.core.forget_request(request.id()).unwrap();
    authority.core.destroy_root("root").unwrap();
    assert!(!reply.0.exists() && !vault.exists());
    for name in names {
        assert!(std::fs::read(&name).unwrap().iter().all(|byte| *byte == 0), "{}", name.display());
    }
    std::fs::create_dir(&vault).unwrap();
    assert!(authority.core.destroy_root("root").is_err());
}
