//! How many connections there may be, in total and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    by_ip: HashMap<IpAddr, usize>,
}

/// The door. Cheap to clone; all clones count together.
#[derive(Debug, Clone)]
pub(super) struct Admission {
    counts: Arc<Mutex<Counts>>,
    max_total: usize,
    max_per_ip: usize,
}

/// A place inside, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    counts: Arc<Mutex<Counts>>,
    ip: IpAddr,
}

impl Admission {
    pub(super) fn new(max_total: usize, max_per_ip: usize) -> Self {
        Self { counts: Arc::default(), max_total, max_per_ip }
    }

    /// A place for one more connection from `ip`, if there is one.
    pub(super) fn enter(&self, ip: IpAddr) -> Option<Place> {
        let ip = ip.to_canonical();
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let here = counts.by_ip.get(&ip).copied().unwrap_or(0);
        if counts.total >= self.max_total || here >= self.max_per_ip {
            return None;
        }
        counts.total += 1;
        counts.by_ip.insert(ip, here + 1);
        Some(Place { counts: self.counts.clone(), ip })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.total -= 1;
        if let Some(here) = counts.by_ip.get_mut(&self.ip) {
            *here -= 1;
            if *here == 0 {
                counts.by_ip.remove(&self.ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_come_back() {
        let door = Admission::new(3, 2);
        let (a, b) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let first = door.enter(a);
        let second = door.enter(a);
        assert!(first.is_some() && second.is_some());
        assert!(door.enter(a).is_none(), "two from one address");
        let third = door.enter(b);
        assert!(third.is_some());
        assert!(door.enter(b).is_none(), "three in total");
        drop(first);
        assert!(door.enter(a).is_some());
    }
}
