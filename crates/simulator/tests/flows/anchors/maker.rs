//! The maker: the authority in its folder, its servers, and every step of a roll.

use super::*;

pub(super) async fn opened(folder: &Path, clock: &VirtualClock) -> Authority {
    let sources = Sources { clock: Arc::new(clock.clone()), random: Box::new(SystemRandom) };
    Authority::open(&folder.join("maker"), AuthorityConfig::default(), sources).await.unwrap()
}

pub(super) async fn identity(authority: &Authority) -> TlsIdentity {
    let names = ServerNames { dns: vec![SERVER.to_owned()], ips: Vec::new() };
    authority.server_identity(&"gateway".parse().unwrap(), &names).await.unwrap()
}

/// A copy of the first root's key, and a gateway with the right name below it.
pub(super) fn stolen(
    folder: &Path,
    authority: &Authority,
    clock: &VirtualClock,
) -> (KeyHandle, TlsIdentity) {
    let seal = SealKey::load(&folder.join("maker/seal.key")).unwrap();
    let keys = Keystore::open(&folder.join("maker/authority/keys"), seal).unwrap();
    let (stolen, root) =
        (keys.require("root").unwrap(), authority.authorities().unwrap().root().clone());
    let fresh = || KeyHandle::ephemeral(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
    let (ca_key, key) = (fresh(), fresh());
    let validity = Validity { not_before: clock.now(), not_after: Validity::FOREVER };
    let template = CaTemplate {
        common_name: "Service CA".to_owned(),
        organisation: CeremonyPlan::example().organisation().to_owned(),
        country: "DE".to_owned(),
        validity,
        serial: Serial::random(&mut SystemRandom),
    };
    let ca = issue::ca_signed_by(&template, ca_key.spki_der(), &root, &stolen).unwrap();
    let template = Template {
        common_name: "gateway".to_owned(),
        identity: IdentityName::new(IdentityKind::Server, "gateway").unwrap(),
        dns: vec![SERVER.to_owned()],
        ips: Vec::new(),
        eku: Eku { server: true, client: false },
        validity,
        serial: Serial::random(&mut SystemRandom),
        spki_der: key.spki_der().to_vec(),
    };
    let leaf = issue::prepare(&template, &ca, ca_key.algorithm()).unwrap();
    let leaf = issue::sign(leaf, &ca_key).unwrap();
    let chain = CertificateChain::new(vec![leaf, ca]).unwrap();
    (stolen, TlsIdentity::new(chain, key).unwrap())
}

impl House {
    pub(super) fn manufacture(&mut self) {
        if self.devices.len() < MAX_DEVICES {
            let name = format!("plug-{}", self.devices.len());
            let folder = self.folder.path().join(&name);
            let roots =
                certificates_from_pem(&std::fs::read(self.authority.layout().roots()).unwrap());
            self.devices.push(Device::made(name, folder, roots.unwrap()));
        }
    }

    /// The gateway hears from the authority what was stated, as `serve` does.
    pub(super) async fn told(&mut self) {
        let stated = self.authority.stated_roots().await.unwrap();
        let first = stated.first;
        let mut line = RootLine::new(first.clone(), stated.statements).unwrap();
        if let Some(word) = &stated.withdrawal {
            line = line.withdrawn(word).unwrap();
        }
        let held = Anchor { position: 0, root: first.clone() };
        let way = statements::follow(&held, &self.authority.statements().unwrap()).unwrap();
        self.genuine = std::iter::once(first).chain(way.into_iter().map(|one| one.root)).collect();
        self.server = identity(&self.authority).await;
        for (session, chain) in self.telling.replace(line) {
            let device = self.devices.iter().position(|one| one.session == Some(session));
            device
                .into_iter()
                .for_each(|device| self.send(Message::Chain { device, chain: chain.clone() }));
        }
    }

    pub(super) async fn kill_authority(&mut self) {
        self.authority = opened(self.folder.path(), &self.clock).await;
    }

    pub(super) async fn roll(&mut self, killed_before: Option<usize>, whoever_is_missing: bool) {
        let stop = killed_before.map(|at| RootStep::ALL[at]);
        let progress = |step: RootStep| {
            if Some(step) == stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let all = self.authority.root_status().await.unwrap();
        let ended = match self.authority.prepared_root().await.unwrap() {
            None if all.len() > MAX_ROLLS => RootRolled::Done(None),
            None => {
                let algorithm = Some(SignatureAlgorithm::EcdsaP256Sha256);
                let access = RootAccess::default();
                self.authority.prepare_root(algorithm, &access, progress).await.unwrap()
            }
            Some(next) => {
                self.clock.forward(Duration::from_secs(2));
                self.write_notes().await;
                self.activate(&next.certificate_sha256, whoever_is_missing, progress).await
            }
        };
        if matches!(ended, RootRolled::Stopped(_)) {
            self.kill_authority().await;
        }
        self.told().await;
    }

    pub(super) async fn activate(
        &mut self,
        next: &str,
        whoever_is_missing: bool,
        progress: impl FnMut(RootStep) -> ControlFlow<()> + Send,
    ) -> RootRolled {
        let (records, now) = (self.notes.fleet().await.unwrap(), self.clock.now());
        let reached = self.reached(&[next.to_owned()], whoever_is_missing).await;
        let ended = self.authority.activate_root(&reached, progress).await.unwrap();
        if matches!(ended, RootRolled::Done(Some(_))) && !whoever_is_missing {
            for record in records.iter().filter(|record| now.since(record.last_seen) <= MONTH) {
                let device = self.devices.iter().find(|one| one.subject() == record.subject);
                let trusted = device.unwrap().anchors.roots();
                assert!(trusted.iter().any(|root| name(root) == next), "activated too early");
            }
        }
        ended
    }

    pub(super) async fn roll_cas(&mut self) {
        if self.cas_rolled >= MAX_CA_ROLLS {
            return;
        }
        self.cas_rolled += 1;
        self.roll_every_ca().await;
    }

    pub(super) async fn roll_every_ca(&mut self) {
        for ca in IssuingCa::ALL {
            self.authority.prepare_ca(ca, None, go_on::<RollStep>).await.unwrap();
            self.clock.forward(Duration::from_secs(2));
            self.authority.activate_ca(ca, go_on::<RollStep>).await.unwrap();
        }
        self.told().await;
    }

    /// The place from which on roots are anchors, by what the authority has recorded.
    pub(super) async fn recorded_floor(&self) -> u64 {
        let all = self.authority.root_status().await.unwrap();
        let withdrawn = all.iter().filter(|one| one.withdrawn.is_some());
        withdrawn.map(|one| one.position + 1).max().unwrap_or(0)
    }

    pub(super) async fn withdraw(
        &mut self,
        killed_before: Option<usize>,
        whoever_is_missing: bool,
    ) -> RootRolled {
        self.write_notes().await;
        let stop = killed_before.map(|at| RootStep::ALL[at]);
        let progress = |step: RootStep| {
            if Some(step) == stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let all = self.authority.root_status().await.unwrap();
        let from = all.iter().position(|one| one.state == KeyState::Active).unwrap();
        let left: Vec<String> =
            all[from..].iter().map(|one| one.certificate_sha256.clone()).collect();
        let reached = self.reached(&left, whoever_is_missing).await;
        let access = RootAccess::default();
        let ended = self.authority.withdraw_roots(&reached, &access, progress).await.unwrap();
        if matches!(ended, RootRolled::Done(Some(_))) && !whoever_is_missing {
            let (records, now) = (self.notes.fleet().await.unwrap(), self.clock.now());
            for record in records.iter().filter(|record| now.since(record.last_seen) <= MONTH) {
                let device = self.devices.iter().find(|one| one.subject() == record.subject);
                let trusted = device.unwrap().anchors.roots();
                assert!(
                    trusted.iter().any(|root| left.contains(&name(root))),
                    "withdrawn too early"
                );
            }
        }
        if matches!(ended, RootRolled::Stopped(_)) {
            self.kill_authority().await;
        }
        self.told().await;
        ended
    }

    /// Whom roots of these names have reached, by the gateway's notes.
    pub(super) async fn reached(&mut self, wanted: &[String], whoever_is_missing: bool) -> Reached {
        let records = self.notes.fleet().await.unwrap();
        let admitted = |one: &Device| Registration { subject: one.subject(), admitted: true };
        let registered: Vec<_> = self.devices.iter().map(admitted).collect();
        let counted =
            Acknowledgements::count(&records, &registered, wanted, self.clock.now(), MONTH);
        Reached {
            acknowledged: counted.acknowledged as u64,
            missing: counted.missing,
            asleep: counted.asleep as u64,
            without: if whoever_is_missing { u64::MAX } else { 0 },
        }
    }
}
