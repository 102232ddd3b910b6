//! What holds at every instant, and where everybody ends.

use super::*;

impl House {
    /// Whether a client with these roots believes the gateway.
    pub(super) async fn handshake(&mut self, roots: &[Certificate]) -> bool {
        let server = self.server.clone();
        self.believes(roots, &server).await
    }

    async fn believes(&mut self, roots: &[Certificate], server: &TlsIdentity) -> bool {
        let shown = server.chain().leaf().serial_hex();
        let key = (roots.iter().map(name).collect(), shown);
        if let Some(known) = self.made.get(&key) {
            return *known;
        }
        let (policy, clock) = (CompiledPolicy::built_in(), Arc::new(self.clock.clone()));
        let (use_, rule) = (Use::DeviceUplink, ClientRule::Anonymous);
        let server =
            TlsServer::with_clock(&policy, use_, server, &rule, "mqtt", clock.clone()).unwrap();
        let kinds = [IdentityKind::Server];
        let client =
            TlsClient::with_clock(&policy, use_, None, roots, &kinds, "mqtt", clock).unwrap();
        let (near, far) = tokio::io::duplex(64 * 1024);
        let (believed, _) = tokio::join!(client.connect(SERVER, near), server.accept(far));
        self.made.insert(key, believed.is_ok());
        believed.is_ok()
    }

    /// What holds at every instant.
    pub(super) async fn check(&mut self) {
        let records = self.notes.fleet().await.unwrap();
        let (recorded, impostor) = (self.recorded_floor().await, self.impostor.clone());
        self.floors.resize(self.devices.len(), 0);
        for at in 0..self.devices.len() {
            let device = &self.devices[at];
            let (roots, subject) = (device.anchors.roots(), device.subject());
            // 1. Nobody trusts what no chain of statements reaches; nobody lets go of what was not withdrawn, and nothing comes back.
            let place = |root: &Certificate| {
                let place = self.genuine.iter().position(|one| one == root);
                place.unwrap_or_else(|| panic!("{subject} trusts a stranger's root")) as u64
            };
            let (stored, floor) = (device.state.get().roots, device.state.get().root_floor);
            assert!(
                !roots.is_empty() && roots.iter().all(|root| place(root) >= floor),
                "{subject}"
            );
            assert!(
                self.floors[at] <= floor && floor <= recorded,
                "{subject}: {floor}, {recorded}"
            );
            let mut factory = device.factory.iter().filter(|root| place(root) >= floor);
            assert!(factory.all(|root| roots.contains(root)), "{subject} lost a root");
            // 2. What is acknowledged is stored: it is there after a kill, or a later one is.
            let held = roots.iter().map(place).max().unwrap();
            if let Some(record) = records.iter().find(|one| one.subject == subject) {
                let known = record.root.as_ref().map(|said| {
                    self.genuine.iter().position(|one| name(one) == *said).unwrap() as u64
                });
                assert!(
                    known.is_none_or(|known| known <= held),
                    "{subject} acknowledged too early"
                );
                assert!(record.root_floor.is_none_or(|said| said <= floor), "{subject}: too early");
            }
            assert!(stored.is_sorted_by_key(|one| one.position), "{subject}");
            self.floors[at] = floor;
            // 3. Everybody believes the gateway; an impostor below the first root is believed by who holds that one.
            let deceived = roots.contains(&self.genuine[0]);
            assert!(self.handshake(&roots).await, "{subject} does not believe its gateway");
            assert_eq!(self.believes(&roots, &impostor).await, deceived, "{subject}");
        }
    }

    /// Everything that was begun is ended, and whoever is awake long enough comes to rest.
    pub(super) async fn settle(&mut self) {
        if self.authority.root_status().await.unwrap().len() == 1 {
            self.roll(None, true).await;
        }
        if self.authority.prepared_root().await.unwrap().is_none()
            && self.authority.statements().unwrap().len()
                >= self.authority.root_status().await.unwrap().len()
        {
            self.roll(None, true).await;
        }
        self.told().await;
        for device in 1..self.devices.len() {
            self.connect(device).await;
        }
        self.rest().await;
        // What was under way from before came last, perhaps: everybody says it once more.
        for device in 1..self.devices.len() {
            self.connect(device).await;
        }
        self.rest().await;
        self.check().await;
        let all = self.authority.root_status().await.unwrap();
        let newest = all.last().unwrap().certificate_sha256.clone();
        let records = self.notes.fleet().await.unwrap();
        for device in &self.devices[1..] {
            assert_eq!(device.anchors.report().root, newest, "{}", device.name);
            let record = records.iter().find(|record| record.subject == device.subject());
            assert_eq!(record.unwrap().root.as_ref(), Some(&newest), "{}", device.name);
        }
        // All have: the root is activated without anybody's word. The old key goes, and the sleeper comes back.
        if self.authority.prepared_root().await.unwrap().is_some() {
            self.roll(None, false).await;
        }
        assert_eq!(self.authority.prepared_root().await.unwrap(), None);
        self.roll_every_ca().await;
        let retired = self.authority.retire_root(go_on::<RootStep>).await.unwrap();
        assert!(matches!(retired, RootRolled::Done(_)), "{retired:?}");
        self.check().await;
        // Old roots go, one killed step after the other. Those that are awake let go; the sleeper comes back to all of it at once.
        for killed_before in [Some(6), Some(7), None] {
            let ended = self.withdraw(killed_before, false).await;
            let expected = matches!(ended, RootRolled::Done(_) | RootRolled::Stopped(_));
            assert!(expected, "{ended:?}");
            self.check().await;
        }
        let floor = all.last().unwrap().position;
        assert_eq!(self.recorded_floor().await, floor);
        self.rest().await;
        self.connect(0).await;
        self.rest().await;
        self.check().await;
        let records = self.notes.fleet().await.unwrap();
        for device in &self.devices {
            let report = device.anchors.report();
            assert_eq!(
                (report.root, report.floor),
                (newest.clone(), Some(floor)),
                "{}",
                device.name
            );
            assert_eq!(device.anchors.roots().len(), 1, "{}", device.name);
            let record = records.iter().find(|record| record.subject == device.subject());
            assert_eq!(record.unwrap().root_floor, Some(floor), "{}", device.name);
        }
    }

    /// Every message arrives, and what comes of it.
    async fn rest(&mut self) {
        let mut left = 1_000;
        while !self.under_way.is_empty() {
            let message = self.under_way.remove(0);
            self.deliver(message).await;
            left -= 1;
            assert!(left > 0, "it never comes to rest");
        }
        self.write_notes().await;
    }
}
