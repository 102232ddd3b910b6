//! With which device, as whom, and where: what most commands of `control` are told.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use countersign_controller::{ControlError, Home, Session};
use countersign_model::id::{PersonName, ThingId};
use serde_json::Value;

use super::discover::{self, Multicast};
use super::judged;
use crate::args::{HOME, address};
use crate::complete::Known;
use crate::failure::Ended;

/// How long a device may take to describe itself when nobody asked for that.
const INTRODUCTION: Duration = Duration::from_secs(2);

#[derive(Debug, clap::Args)]
pub(crate) struct With {
    /// The home's folder.
    #[arg(long, env = HOME)]
    home: PathBuf,
    /// The device.
    #[arg(long, add = Known::Thing)]
    pub(crate) thing: ThingId,
    /// As whom; left out: the home's owner.
    #[arg(long = "as", value_name = "PERSON", add = Known::Person)]
    as_: Option<PersonName>,
    /// Where the device is now; left out: where it was last, or where it announces itself.
    #[arg(long, value_parser = address, value_name = "ADDR")]
    pub(crate) at: Option<SocketAddr>,
    #[command(flatten)]
    multicast: Multicast,
}

impl With {
    pub(crate) async fn session(&self) -> Ended<(Home, Session)> {
        let home = Home::open(&self.home)?;
        let session = self.connect(&home).await.map_err(judged)?;
        Ok((home, session))
    }

    /// The home, for those who connect more than once.
    pub(crate) fn home(&self) -> Ended<Home> {
        Ok(Home::open(&self.home)?)
    }

    /// What the device says of itself, which the home keeps for completion.
    pub(crate) async fn describe(
        &self,
        home: &Home,
        session: &mut Session,
    ) -> Result<Value, ControlError> {
        let description = session.describe().await?;
        home.saw_description(&self.thing, &description);
        Ok(description)
    }

    /// Asks the device to describe itself where it never did: once, and whatever comes of it.
    pub(crate) async fn get_to_know(&self, home: &Home, session: &mut Session) {
        if !home.has_description(&self.thing) {
            let _ = tokio::time::timeout(INTRODUCTION, self.describe(home, session)).await;
        }
    }

    pub(crate) async fn connect(&self, home: &Home) -> Result<Session, ControlError> {
        let person = self.person(home)?;
        match home.session(&person, &self.thing, self.at).await {
            Err(error) if self.at.is_none() && discover::may_have_moved(&error) => {
                discover::where_it_is_now(home, &person, &self.thing, self.multicast, error).await
            }
            session => session,
        }
    }

    /// As whom: as asked, as who joined there, or as the home's owner.
    pub(crate) fn person(&self, home: &Home) -> Result<PersonName, ControlError> {
        let joined = home.thing(&self.thing)?.person;
        Ok(self.as_.clone().or(joined).unwrap_or_else(|| home.owner().clone()))
    }
}
