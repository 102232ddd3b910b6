//! The gateway and the wire: sessions, messages, notes, and whoever sits in between.

use super::*;

impl House {
    /// Whom `device` means, the sleeper not among them.
    pub(super) fn awake(&self, device: usize) -> usize {
        1 + device % (self.devices.len() - 1)
    }

    pub(super) fn send(&mut self, message: Message) {
        self.ever.push(message.clone());
        self.under_way.push(message);
    }

    pub(super) fn report(&mut self, device: usize) {
        if let Some(session) = self.devices[device].session {
            let report = self.devices[device].anchors.report().to_json();
            self.send(Message::Report { device, session, report });
        }
    }

    /// A handshake, as each connection begins with one; then a session, and what the device says first.
    pub(super) async fn connect(&mut self, device: usize) {
        let roots = self.devices[device].anchors.roots();
        assert!(self.handshake(&roots).await, "{} lost its gateway", self.devices[device].name);
        self.hang_up(device);
        self.sessions += 1;
        self.devices[device].session = Some(self.sessions);
        let sighting = Sighting {
            subject: self.devices[device].subject(),
            version: "TLS 1.3".into(),
            suite: "TLS_AES_128_GCM_SHA256".into(),
            group: "x25519".into(),
            offered: None,
            certificate: Shown {
                serial: "01".into(),
                key: None,
                signature: None,
                not_after: Validity::FOREVER,
            },
            at: self.clock.now(),
        };
        self.notes.note(&[sighting]).await.unwrap();
        self.report(device);
    }

    pub(super) fn hang_up(&mut self, device: usize) {
        if let Some(session) = self.devices[device].session.take() {
            self.telling.forget(session);
        }
    }

    pub(super) async fn deliver(&mut self, message: Message) {
        match message {
            Message::Chain { device, chain } => {
                self.devices[device].anchors.offer(&chain).unwrap();
                self.report(device);
            }
            // The gateway reads what belongs to an open session.
            Message::Report { device, session, report }
                if self.devices[device].session == Some(session) =>
            {
                let report = AnchorReport::from_json(&report).unwrap();
                let (subject, at) = (self.devices[device].subject(), self.clock.now());
                let (root, floor) = (Some(report.root.clone()), report.floor);
                self.unwritten.push(HeldRoot { subject, root, floor, at });
                if let Some(chain) = self.telling.hear(session, &report.root, report.floor) {
                    self.send(Message::Chain { device, chain });
                }
            }
            Message::Report { .. } => {}
        }
    }

    pub(super) async fn write_notes(&mut self) {
        for held in std::mem::take(&mut self.unwritten) {
            self.notes.note_root(&held).await.unwrap();
        }
    }

    pub(super) async fn kill_gateway(&mut self, lost: bool) {
        if lost {
            self.unwritten.clear();
        }
        self.write_notes().await;
        self.notes = Notes::open(&self.folder.path().join("gateway.db")).await.unwrap().0;
        self.telling = Telling::default();
        self.devices.iter_mut().for_each(|device| device.session = None);
        self.told().await;
    }

    pub(super) async fn forge(&mut self, device: usize, how: usize) {
        let genuine = self.authority.statements().unwrap();
        if how >= 6 {
            return self.forge_withdrawal(device, how, genuine);
        }
        let mut chain = genuine;
        let key = KeyHandle::ephemeral(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
        let template = CaTemplate {
            common_name: "Root".to_owned(),
            organisation: CeremonyPlan::example().organisation().to_owned(),
            country: "DE".to_owned(),
            validity: Validity { not_before: BUILD_FLOOR, not_after: Validity::FOREVER },
            serial: Serial::random(&mut SystemRandom),
        };
        let stranger = self_signed_ca(&template, &key).unwrap();
        match how {
            // By a key of their own, in the place of each genuine one or after them.
            0..=2 => {
                let held = Anchor { position: how as u64, root: stranger.clone() };
                let other = CaTemplate { common_name: "Next".to_owned(), ..template };
                let next = self_signed_ca(&other, &key).unwrap();
                chain.truncate(how);
                chain.push(statements::state(&held, &next, &key).unwrap());
            }
            3 => chain.reverse(),
            4 => drop(chain.drain(..chain.len().min(1))),
            _ => {
                chain = chain
                    .into_iter()
                    .map(|mut one| {
                        one.pop();
                        one
                    })
                    .collect()
            }
        }
        self.send(Message::Chain { device, chain: statements::to_bytes(&chain) });
    }

    /// Whoever has the first root's key says that it stands later, to be rid of the others; or sends again what is genuine.
    fn forge_withdrawal(&mut self, device: usize, how: usize, genuine: Vec<Vec<u8>>) {
        let held = self.devices[device].anchors.roots();
        // A device that knows no other root is deceived by it in any case.
        if held.iter().all(|root| *root == self.genuine[0]) {
            return;
        }
        let own = |position: u64| {
            let first = Anchor { position, root: self.genuine[0].clone() };
            withdraw_before(&first, &self.stolen).unwrap()
        };
        let statements = if how == 7 { Vec::new() } else { genuine };
        let word = own(if how == 6 { 1 } else { how as u64 });
        let withdrawal = Some(Withdrawal::read(&word).unwrap());
        let chain = Told { statements, withdrawal }.to_bytes();
        self.send(Message::Chain { device, chain });
    }
}
