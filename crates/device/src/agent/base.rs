//! What all states share: identity, state, gate, and the watch over our own listeners.

use super::{AgentError, Button};
use crate::anchors::Anchors;
use crate::clock::{BootClock, DeviceClock};
use crate::config::Config;
use crate::data::{DataFolder, Factory, Record, Store, StoreError, home_key};
use crate::discovery::{Announce, Announcer, As};
use crate::functions::Functions;
use crate::gate::Gate;
use crate::identity::{self, Slots};
use crate::listeners::{Declared, open_listeners, reachable};
use crate::policy::Policies;
use crate::status::{Status, StatusFile};
use crate::uplink::shell::UplinkStatus;
use countersign_crypto::digest::sha256;
use countersign_crypto::keystore::Keystore;
use countersign_crypto::random::SystemRandom;
use countersign_crypto::seal::SealKey;
use countersign_model::state::DeviceState;
use countersign_model::thing::{NetworkProtocol, ThingDescription};
use countersign_protocol::pairing::Window;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// How often the agent looks at its own sockets, and whether a day has ended something of the policy.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(10);

/// A device that is ready to live.
pub(super) struct Base {
    pub(super) config: Config,
    pub(super) factory: Arc<Factory>,
    pub(super) store: Arc<Store>,
    pub(super) slots: Arc<Slots>,
    pub(super) clock: Arc<DeviceClock>,
    pub(super) uptime: Arc<BootClock>,
    pub(super) button: Button,
    pub(super) policies: Arc<Policies>,
    pub(super) anchors: Arc<Anchors>,
    pub(super) gate: Arc<Gate>,
    pub(super) description_sha256: [u8; 32],
    file: StatusFile,
    folder: DataFolder,
}

impl Base {
    pub(super) fn open(
        config: Config,
        functions: Arc<dyn Functions>,
        button: Button,
    ) -> Result<Self, AgentError> {
        // 1. One process on one folder.
        let folder = DataFolder::open(&config.data)?;
        // 2. What the device can do. Open data that could be changed ends here.
        let text = std::fs::read(&config.thing)
            .map_err(|error| AgentError::File(config.thing.clone(), error))?;
        let description = ThingDescription::parse(&text)
            .map_err(|errors| AgentError::Thing(config.thing.clone(), errors))?;
        if config.discovery.announce == Announce::Always && !declares_mdns(&description) {
            return Err(AgentError::NotDeclared(config.thing));
        }
        // 3. Who it is, and what it remembers.
        let seal = SealKey::load(&folder.seal_key())?;
        let factory = Arc::new(Factory::load(&folder.factory(), &seal)?);
        let seal = home_key::open(folder.root(), &seal, &mut SystemRandom)?;
        let store = Arc::new(Store::open(&folder.state(), seal.clone(), Box::new(SystemRandom))?);
        if store.recovered() {
            tracing::warn!(
                "the state's last change was torn by a power cut; the one before stands"
            );
        }
        let clock = Arc::new(DeviceClock::new(store.with(|record| record.time_floor)));
        let uptime = Arc::new(BootClock::read().map_err(AgentError::Proc)?);
        store.keep_time(clock.clone());
        let policies = Policies::open(store.clone(), &factory, clock.clone())?;
        let anchors = Anchors::open(store.clone(), factory.roots().to_vec());
        let keys = Keystore::open(&folder.keys(), seal)?;
        let slots = Arc::new(Slots {
            factory: factory.clone(),
            store: store.clone(),
            keys,
            clock: clock.clone(),
            policy: policies.compiled(),
            spread: Duration::from_secs(config.identity.renewal_spread_secs),
        });
        slots.sweep()?;
        // 4. The gate in front of the functions.
        let thing = factory.thing().clone();
        let gate = Gate::new(thing, description, store.clone(), functions, clock.clone());
        let file = StatusFile::new(config.ready_file.clone());
        Ok(Self {
            config,
            factory,
            store,
            slots,
            clock,
            uptime,
            button,
            policies,
            anchors,
            gate: Arc::new(gate),
            description_sha256: sha256(&text),
            file,
            folder,
        })
    }

    pub(super) fn state(&self) -> DeviceState {
        self.store.with(|record| record.phase)
    }

    /// A listener at `address`, for the section `name` of the configuration.
    pub(super) async fn bind(
        &self,
        address: SocketAddr,
        name: &'static str,
    ) -> Result<(TcpListener, SocketAddr), AgentError> {
        let failed = |error| AgentError::Listen(address, error, name);
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let local = listener.local_addr().map_err(failed)?;
        Ok((listener, local))
    }

    /// As [`Base::bind`]; where any port is allowed, the one of the last time if it is free.
    pub(super) async fn bind_again(
        &self,
        configured: SocketAddr,
        last: u16,
        name: &'static str,
    ) -> Result<(TcpListener, SocketAddr), AgentError> {
        if configured.port() == 0 {
            let last = SocketAddr::new(configured.ip(), last);
            if let Ok(bound) = self.bind(last, name).await {
                return Ok(bound);
            }
        }
        self.bind(configured, name).await
    }

    /// Looks whether a day has ended something of the policy, and at our own sockets: only `open` and what the product
    /// declared may be there.
    //= specs/en-303-645.md#5.5-5
    pub(super) fn look(&self, open: &[SocketAddr]) -> Result<(), AgentError> {
        self.policies.on_day();
        let mut declared = Declared::new(self.gate.description().network_services());
        let product = self.config.product_listeners.iter().map(|listener| &listener.address);
        product.chain(open).for_each(|address| declared.tcp(*address));
        if self.config_announces() {
            declared.announced_on(self.config.discovery.port);
        }
        if let Some(behind) = self.gate.functions().behind() {
            beside(behind, open)?;
            declared.tcp(behind);
        }
        let found = open_listeners().map_err(AgentError::Proc)?;
        match declared.undeclared(&found).into_iter().next() {
            Some(listener) => Err(AgentError::Undeclared(listener)),
            None => Ok(()),
        }
    }

    /// Announces the interface at `address`, where the configuration and the description want it.
    pub(super) fn announce(&self, address: SocketAddr, role: As) -> Option<Announcer> {
        let discovery = &self.config.discovery;
        let thing = self.factory.thing().clone();
        self.announces(address).then(|| Announcer::start(discovery.port, thing, address, role))
    }

    //= specs/house.md#house-discovery
    //# A device MUST NOT announce itself unless its description declares it.
    fn announces(&self, address: SocketAddr) -> bool {
        self.config.discovery.announces(address.ip()) && declares_mdns(self.gate.description())
    }

    /// Whether either interface is announced while it is open. The responder of the state before closes a moment later.
    fn config_announces(&self) -> bool {
        [self.config.pairing.listen, self.config.api.listen].iter().any(|one| self.announces(*one))
    }

    /// Writes the ready file.
    pub(super) fn show(
        &mut self,
        state: DeviceState,
        pairing: Option<SocketAddr>,
        api: Option<SocketAddr>,
        uplink: UplinkStatus,
    ) {
        let identity = self.store.with(identity::serial);
        let thing = self.factory.thing().clone();
        let policy = self.policies.state();
        let status = Status { thing, state, pairing, api, uplink, identity, policy };
        if let Err(error) = self.file.show(&status) {
            tracing::warn!(%error, "the ready file could not be written");
        }
    }

    /// How much longer pairing is open, as far as this start of the device changes it.
    pub(super) fn begin_window(&self) -> Result<Option<Duration>, StoreError> {
        let (now, rules) = (self.uptime.now(), self.config.pairing.rules());
        let (window, attempts) = self.store.with(|record| {
            let (stored, attempts) = (record.window.as_ref(), record.attempts);
            Window::at_start(stored, attempts, rules, self.uptime.boot(), now)
        });
        let left = window.left(now);
        self.store.update(|record| (record.window, record.attempts) = (Some(window), attempts))?;
        Ok(left)
    }

    /// Somebody is present: pairing is open anew, so long, and wrong codes are forgiven.
    pub(super) fn pressed(&self) -> Result<Option<Duration>, StoreError> {
        let (now, rules) = (self.uptime.now(), self.config.pairing.rules());
        self.store.update(|record| {
            let (window, attempts) = record.window.as_ref()?.pressed(record.attempts, rules, now);
            let left = window.left(now);
            (record.window, record.attempts) = (Some(window), attempts);
            left
        })
    }

    /// The device was told to end: its next start is as good as a power-on.
    pub(super) fn end_window(&self) -> Result<(), StoreError> {
        self.store.update(|record| record.window = record.window.as_ref().map(Window::ended))
    }

    /// Destroys the home's keys and all that is known of it.
    pub(super) fn forget_home(&mut self) -> Result<(), AgentError> {
        // 1. Decided, durably: from here on there is no way back to the home.
        self.store.update(|record| record.phase = DeviceState::Resetting)?;
        // 2. The keys.
        for label in self.slots.keys.list()? {
            self.slots.keys.destroy(&label)?;
        }
        // 3. The rest, with no older copy left that anything opens.
        let fresh = self.store.get().forgotten();
        let seal = home_key::renew(self.folder.root(), &self.store, fresh, &mut SystemRandom)?;
        // 4. What comes next is sealed with the new key.
        let keys = Keystore::open(&self.folder.keys(), seal)?;
        self.slots = Arc::new(self.slots.with_keys(keys));
        tracing::warn!(target: "countersign::audit", "reset: nothing of the home is left");
        Ok(())
    }
}

/// Whether multicast DNS is among the declared exceptions.
pub(crate) fn declares_mdns(description: &ThingDescription) -> bool {
    let services = description.network_services();
    services.iter().any(|service| service.protocol == NetworkProtocol::Mdns)
}

//= specs/house.md#house-bindings
//# A product behind the gate that can be reached beside it MUST stop the device.
fn beside(behind: SocketAddr, ours: &[SocketAddr]) -> Result<(), AgentError> {
    let reachable = reachable(behind.port()).map_err(AgentError::Proc)?;
    match reachable.into_iter().find(|address| !ours.contains(address)) {
        Some(address) => Err(AgentError::Beside(address)),
        None => Ok(()),
    }
}

//= specs/house.md#house-pairing
//# A reset MUST destroy the home's keys and return the device to factory-default.
/// The same for a stopped device, whose state may be damaged.
pub(super) fn reset_folder(folder: &DataFolder) -> Result<(), AgentError> {
    let factory = SealKey::load(&folder.seal_key())?;
    let seal = home_key::open(folder.root(), &factory, &mut SystemRandom)?;
    let random = || Box::new(SystemRandom);
    let (store, record) = match Store::open(&folder.state(), seal.clone(), random()) {
        Ok(store) => {
            store.update(|record| record.phase = DeviceState::Resetting)?;
            let record = store.get().forgotten();
            (store, record)
        }
        Err(StoreError::Changed(_)) => {
            (Store::blank(&folder.state(), seal.clone(), random()), Record::default())
        }
        Err(error) => return Err(error.into()),
    };
    let keys = Keystore::open(&folder.keys(), seal)?;
    for label in keys.list()? {
        keys.destroy(&label)?;
    }
    home_key::renew(folder.root(), &store, record, &mut SystemRandom)?;
    Ok(())
}
