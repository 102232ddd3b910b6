//! Before the device belongs to a home: the pairing interface for a while, then nothing.

use super::base::{Base, LOOK_EVERY};
use super::initialised::Initialised;
use super::{AgentError, Event, Life, Shutdown};
use crate::pairing::Pairing;
use crate::uplink::shell::UplinkStatus;
use countersign_crypto::tls::TlsError;
use countersign_model::state::DeviceState;
use countersign_protocol::pairing::WINDOW;
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, interval, sleep_until};

//= specs/house.md#house-pairing
//# The pairing interface MUST exist only before the device is initialised.
/// *Factory-default*, with the pairing window open or over.
pub(super) struct Unowned {
    base: Base,
    /// Dropping it closes the listener and the conversation.
    pairing: JoinSet<Result<TcpListener, TlsError>>,
    address: Option<SocketAddr>,
    window: Instant,
    look: Interval,
}

impl Unowned {
    pub(super) async fn enter(mut base: Base) -> Result<Self, AgentError> {
        base.presence()?;
        let (configured, last) = (base.config.pairing.listen, base.store.with(|r| r.pairing_port));
        let (listener, address) = base.bind_again(configured, last, "pairing").await?;
        base.look(&[address])?;
        if last != address.port() {
            base.store.update(|record| record.pairing_port = address.port())?;
        }
        let machine = Pairing {
            factory: base.factory.clone(),
            store: base.store.clone(),
            clock: base.clock.clone(),
            policies: base.policies.clone(),
            api: base.config.api.listen,
            description_sha256: base.description_sha256,
        };
        let mut pairing = JoinSet::new();
        pairing.spawn(async move { machine.serve(listener).await });
        base.show(DeviceState::Pairing, Some(address), None, UplinkStatus::Waiting);
        tracing::info!(%address, "waiting to be paired");
        let window = Instant::now() + WINDOW;
        Ok(Self { base, pairing, address: Some(address), window, look: interval(LOOK_EVERY) })
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
                Event::WindowOver => {
                    self.pairing.shutdown().await;
                    self.address = None;
                    self.base.show(DeviceState::FactoryDefault, None, None, UplinkStatus::Waiting);
                    tracing::info!(
                        "the pairing window is over; switch the device off and on to pair"
                    );
                }
                // While a home is being installed the API's socket is there already, and nobody is served on it.
                Event::Look if self.base.state() == DeviceState::Initialised => {}
                Event::Look => self.base.look(self.address.as_slice())?,
                Event::Broken(error) => return Err(error),
                Event::Stop => return Ok(Life::Stopped),
                Event::Changed | Event::Reset => {}
            }
        }
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
            _ = self.look.tick() => Event::Look,
            () = shutdown => Event::Stop,
        }
    }
}
