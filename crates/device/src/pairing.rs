//! The pairing interface: the only one that is open before the device belongs to a home.
//!
//! ```text
//!  accept ─► TLS with the IDevID, ALPN countersign-pairing/1 ─► protocol::pairing ─► installed ─► socket closed
//! ```
//! A few may be connected and one may try a code; each conversation has a deadline, and each silence in it a shorter one.

mod seats;

use crate::clock::{BootClock, DeviceClock};
use crate::data::{Factory, Home, Record, Store, StoreError};
use crate::policy::Policies;
use countersign_crypto::policy::Use;
use countersign_crypto::random::SystemRandom;
use countersign_crypto::tls::{ClientRule, SecureChannel, TlsError, TlsServer, trust_anchor};
use countersign_model::state::DeviceState;
use countersign_protocol::pairing::{
    ALPN, Attempts, Binding, CloseReason, DeviceOutput, Installation, Installed,
    NetworkCredentials, NoInstall, PairingDevice, SESSION_TIMEOUT, Window,
};
use countersign_protocol::permit::device::AccessList;
use seats::{Seat, Seats};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the last words may take to leave.
const FAREWELL: Duration = Duration::from_secs(2);
/// Pause after a failed accept: descriptors may be exhausted, and are freed by others.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the pairing interface works with.
pub struct Pairing {
    /// Who the device is.
    pub factory: Arc<Factory>,
    /// Where attempts are counted and the home is installed.
    pub store: Arc<Store>,
    /// The device's time, raised by the controller's.
    pub clock: Arc<DeviceClock>,
    /// What attempts are counted on.
    pub uptime: Arc<BootClock>,
    /// What TLS may do.
    pub policies: Arc<Policies>,
    /// Where the local API will listen.
    pub api: SocketAddr,
    /// SHA-256 of the Thing Description.
    pub description_sha256: [u8; 32],
}

impl Pairing {
    /// Answers on `listener` until somebody has paired; gives the socket of the local API, bound and not yet served.
    /// Dropping it ends every conversation.
    ///
    /// # Errors
    /// [`TlsError`] when the IDevID cannot be used.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) -> Result<TcpListener, TlsError> {
        let mut followed = self.policies.follow();
        let mut tls = self.tls()?;
        let (mut guests, mut handles) = (JoinSet::new(), HashMap::<Seat, AbortHandle>::new());
        let seats = Arc::new(Mutex::new(Seats::default()));
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(ended) = guests.join_next(), if !guests.is_empty() => {
                    let (seat, api) = match ended {
                        Ok((seat, api)) => (Some(seat), api),
                        Err(_) => (None, None),
                    };
                    handles.retain(|one, handle| Some(*one) != seat && !handle.is_finished());
                    match api {
                        Some(api) => return Ok(api),
                        None => continue,
                    }
                }
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "pairing: accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            if followed.has_changed().unwrap_or(false) {
                followed.mark_unchanged();
                tls = self.tls()?;
            }
            let (seat, evicted) = locked(&seats).admit(address.ip());
            if let Some(evicted) = evicted.and_then(|evicted| handles.remove(&evicted)) {
                evicted.abort();
            }
            let guest = Guest { pairing: self.clone(), seats: seats.clone(), seat };
            handles.insert(seat, guests.spawn(guest.hear(tls.clone(), stream)));
        }
    }

    /// By the policy in force.
    fn tls(&self) -> Result<TlsServer, TlsError> {
        TlsServer::with_clock(
            self.policies.current().compiled(),
            Use::Pairing,
            self.factory.identity(),
            &ClientRule::Anonymous,
            ALPN,
            self.clock.clone(),
        )
    }

    fn machine(&self, channel: &SecureChannel<TcpStream>) -> Option<PairingDevice> {
        let binding = Binding {
            exporter: channel.channel_binding().ok()?,
            device: self.factory.thing().clone(),
            device_certificate: self.factory.identity().chain().leaf().fingerprint(),
            strength: channel.strength(),
        };
        let record = self.factory.verifier().ok()?;
        let attempts = self.store.with(|record| record.attempts);
        Some(PairingDevice::new(
            record,
            *self.factory.params(),
            binding,
            attempts,
            self.uptime.now(),
        ))
    }

    fn count(&self, attempts: Attempts) -> Result<(), StoreError> {
        self.store.update(|record| record.attempts = attempts).inspect_err(|error| {
            tracing::error!(%error, "pairing: the attempt could not be counted");
        })
    }

    /// Stores the home as a whole, then tells where the local API is.
    async fn install(
        &self,
        installation: Installation,
    ) -> Result<(TcpListener, Installed), InstallError> {
        let Installation { anchor, owner, network, gateway, now } = installation;
        let anchor = trust_anchor(&anchor).ok_or(InstallError::Anchor)?;
        self.store.with(|record| self.may_install(record))?;
        // 1. The socket, so that its port can be told. Nobody is served yet.
        let listener = TcpListener::bind(self.api).await.map_err(InstallError::Listen)?;
        let local_port = listener.local_addr().map_err(InstallError::Listen)?.port();
        let access = AccessList::first_owner(owner);
        let locked =
            |NetworkCredentials { ssid, key }| NetworkCredentials { ssid, key: key.locked() };
        let network = network.map(locked).map(Arc::new);
        let home = Home { anchor, access, network, gateway };
        self.clock.raise(now);
        // 2. Everything at once, durably: the device is initialised or it is not.
        self.store.update(|record| {
            self.may_install(record)?;
            record.phase = DeviceState::Initialised;
            record.home = Some(home);
            record.api_port = local_port;
            record.time_floor = self.clock.floor();
            Ok::<_, InstallError>(())
        })??;
        let thing = self.factory.thing().clone();
        Ok((listener, Installed { thing, local_port, td_sha256: self.description_sha256 }))
    }

    /// Asked by whoever holds the record: the window's end may come at any moment.
    fn may_install(&self, record: &Record) -> Result<(), NoInstall> {
        Window::may_install(record.window.as_ref(), record.phase, self.uptime.now())
    }
}

/// Somebody who is connected. The seat is given back when it goes, however it goes.
struct Guest {
    pairing: Arc<Pairing>,
    seats: Arc<Mutex<Seats>>,
    seat: Seat,
}

impl Drop for Guest {
    fn drop(&mut self) {
        locked(&self.seats).leave(self.seat);
    }
}

impl Guest {
    async fn hear(self, tls: TlsServer, stream: TcpStream) -> (Seat, Option<TcpListener>) {
        let api = match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
            Ok(Ok(channel)) => self.conversation(channel).await,
            Ok(Err(error)) => {
                tracing::info!(%error, "pairing: refused");
                None
            }
            Err(_) => {
                tracing::info!("pairing: handshake took too long");
                None
            }
        };
        (self.seat, api)
    }

    /// One conversation; the local API's socket if it ended well.
    async fn conversation(&self, mut channel: SecureChannel<TcpStream>) -> Option<TcpListener> {
        let mut machine = self.pairing.machine(&channel)?;
        // It outlives the talk: once a home is stored the device is initialised, whether its controller hears of it or not.
        let mut api = None;
        let talk = self.talk(&mut machine, &mut channel, &mut api);
        let ended = tokio::time::timeout(SESSION_TIMEOUT, talk).await;
        let reason = ended.unwrap_or(CloseReason::Timeout);
        tracing::info!(?reason, "pairing: conversation ended");
        // Nobody waits for a farewell.
        locked(&self.seats).leave(self.seat);
        let _ = tokio::time::timeout(FAREWELL, channel.shutdown()).await;
        api
    }

    async fn talk(
        &self,
        machine: &mut PairingDevice,
        channel: &mut SecureChannel<TcpStream>,
        api: &mut Option<TcpListener>,
    ) -> CloseReason {
        let (pairing, mut buffer) = (&self.pairing, [0; 4096]);
        loop {
            let read =
                match tokio::time::timeout(machine.patience(), channel.read(&mut buffer)).await {
                    Ok(Ok(read)) if read > 0 => read,
                    Ok(_) => return CloseReason::Protocol,
                    Err(_) => return CloseReason::Timeout,
                };
            let mut outputs =
                VecDeque::from(machine.receive(&buffer[..read], pairing.uptime.now()));
            while let Some(output) = outputs.pop_front() {
                match output {
                    DeviceOutput::Claim => outputs.extend(self.claim(machine)),
                    // The count is on disk before anything that tests a guess leaves.
                    DeviceOutput::Persist(attempts) => {
                        if pairing.count(attempts).is_err() {
                            return CloseReason::Storage;
                        }
                    }
                    DeviceOutput::Send(bytes) => {
                        if channel.write_all(&bytes).await.is_err()
                            || channel.flush().await.is_err()
                        {
                            return CloseReason::Protocol;
                        }
                    }
                    DeviceOutput::Install(installation) => {
                        match pairing.install(*installation).await {
                            Ok((listener, done)) => {
                                *api = Some(listener);
                                outputs.extend(machine.installed(done));
                            }
                            Err(error) => {
                                tracing::error!(%error, "pairing: nothing was installed");
                                outputs.extend(machine.not_installed());
                            }
                        }
                    }
                    DeviceOutput::Close(reason) => return reason,
                }
            }
        }
    }

    fn claim(&self, machine: &mut PairingDevice) -> Vec<DeviceOutput> {
        if !locked(&self.seats).take_place(self.seat) {
            return machine.occupied();
        }
        let attempts = self.pairing.store.with(|record| record.attempts);
        machine.claimed(attempts, self.pairing.uptime.now(), &mut SystemRandom)
    }
}

fn locked(seats: &Mutex<Seats>) -> MutexGuard<'_, Seats> {
    // Each change of the seats is one step: a panic leaves them whole.
    seats.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug, thiserror::Error)]
enum InstallError {
    #[error("what the controller sent is no self-signed CA certificate that TLS can take")]
    Anchor,
    #[error(transparent)]
    NotNow(#[from] NoInstall),
    #[error("the local API's address cannot be used: {0}")]
    Listen(std::io::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}
