//! Before the device belongs to a home: the pairing interface for a while, then nothing until somebody presses the button.

use super::base::{Base, LOOK_EVERY};
use super::initialised::Initialised;
use super::{AgentError, Event, Life, Shutdown};
use crate::discovery::{Announcer, As};
use crate::pairing::Pairing;
use crate::uplink::shell::UplinkStatus;
use countersign_crypto::tls::TlsError;
use countersign_model::state::DeviceState;
use countersign_protocol::pairing::{Closing, Window};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, interval, sleep_until};

//= specs/house.md#house-pairing
//# The pairing interface MUST exist only before the device is initialised.
/// *Factory-default*, with the pairing window open or over.
pub(super) struct Unowned {
    base: Base,
    /// Dropping it closes the listener and the conversations.
    pairing: JoinSet<Result<TcpListener, TlsError>>,
    /// Where pairing is open.
    address: Option<SocketAddr>,
    window: Instant,
    /// The window is over, and held open for who installed a home.
    telling: bool,
    presses: watch::Receiver<u64>,
    look: Interval,
    /// Dropping it withdraws the announcement.
    announcer: Option<Announcer>,
}

impl Unowned {
    pub(super) async fn enter(base: Base) -> Result<Self, AgentError> {
        let presses = base.button.presses();
        let left = base.begin_window()?;
        let (pairing, window) = (JoinSet::new(), Instant::now());
        let look = interval(LOOK_EVERY);
        let announcer = None;
        let (address, telling) = (None, false);
        let mut unowned =
            Self { base, pairing, address, window, telling, presses, look, announcer };
        match left {
            Some(left) => unowned.open(left).await?,
            None => unowned.close().await,
        }
        Ok(unowned)
    }

    pub(super) async fn live(mut self, mut shutdown: Shutdown<'_>) -> Result<Life, AgentError> {
        loop {
            match self.next(shutdown.as_mut()).await {
                Event::Paired(api) => {
                    // The listener went with the task that gave us the API's socket.
                    let Self { base, pairing, .. } = self;
                    drop(pairing);
                    return Ok(Life::Initialised(Initialised::enter(base, api)?));
                }
                Event::Pressed if self.owned() => {}
                Event::Pressed => {
                    if let Some(left) = self.base.pressed()? {
                        self.open(left).await?;
                    }
                }
                Event::WindowOver => match self.closing() {
                    Closing::Open(left) => self.window = Instant::now() + left,
                    Closing::Telling(left) => {
                        (self.telling, self.window) = (true, Instant::now() + left);
                    }
                    Closing::AtHome => {
                        self.pairing.shutdown().await;
                        // Its socket went with the conversation: as after a restart.
                        return Ok(Life::Initialised(Initialised::resume(self.base).await?));
                    }
                    Closing::Closed => self.close().await,
                },
                // While a home is being installed the API's socket is there already, and nobody is served on it.
                Event::Look if self.owned() => {}
                Event::Look => self.base.look(self.address.as_slice())?,
                Event::Broken(error) => return Err(error),
                Event::Stop => {
                    self.base.end_window()?;
                    return Ok(Life::Stopped);
                }
                Event::Changed | Event::Reset => {}
            }
        }
    }

    /// Whether a home is stored already. Its conversation ends, and gives the local API's socket.
    fn owned(&self) -> bool {
        self.base.state() == DeviceState::Initialised
    }

    fn closing(&self) -> Closing {
        let Self { base, telling, .. } = self;
        base.store.with(|record| {
            Window::closing(record.window.as_ref(), record.phase, *telling, base.uptime.now())
        })
    }

    /// Pairing is open for `left` from now on; what goes on already goes on.
    async fn open(&mut self, left: Duration) -> Result<(), AgentError> {
        self.window = Instant::now() + left;
        if self.address.is_some() {
            return Ok(());
        }
        let base = &mut self.base;
        let (configured, last) = (base.config.pairing.listen, base.store.with(|r| r.pairing_port));
        let (listener, address) = base.bind_again(configured, last, "pairing").await?;
        base.look(&[address])?;
        if last != address.port() {
            base.store.update(|record| record.pairing_port = address.port())?;
        }
        let machine = Arc::new(Pairing {
            factory: base.factory.clone(),
            store: base.store.clone(),
            clock: base.clock.clone(),
            uptime: base.uptime.clone(),
            policies: base.policies.clone(),
            api: base.config.api.listen,
            description_sha256: base.description_sha256,
        });
        self.pairing.spawn(machine.serve(listener));
        self.address = Some(address);
        self.announcer = base.announce(address, As::Waiting);
        base.show(DeviceState::Pairing, Some(address), None, UplinkStatus::Waiting);
        tracing::info!(%address, seconds = left.as_secs(), "waiting to be paired");
        Ok(())
    }

    async fn close(&mut self) {
        self.pairing.shutdown().await;
        self.address = None;
        self.announcer = None;
        self.base.show(DeviceState::FactoryDefault, None, None, UplinkStatus::Waiting);
        tracing::info!("pairing is closed: {}", self.base.config.pairing.how_to_open());
    }

    async fn next(&mut self, shutdown: Shutdown<'_>) -> Event {
        let open = self.address.is_some();
        tokio::select! {
            Some(ended) = self.pairing.join_next(), if open => match ended {
                Ok(Ok(api)) => Event::Paired(api),
                Ok(Err(error)) => Event::Broken(error.into()),
                Err(_) => Event::Broken(AgentError::Ended("pairing interface")),
            },
            () = sleep_until(self.window), if open => Event::WindowOver,
            Ok(()) = self.presses.changed() => Event::Pressed,
            _ = self.look.tick() => Event::Look,
            () = shutdown => Event::Stop,
        }
    }
}
