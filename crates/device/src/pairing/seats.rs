//! Who is connected to the pairing interface, and who holds the one place in which a code is tried.
//!
//! ```text
//!  accept ─► a seat (few, fewer for one address) ─► prover's share ─► the place (one) ─► end
//!               full? whoever has most gives the oldest of his seats, unless it holds the place
//! ```

use std::net::IpAddr;

/// Connections at once: more would only keep a small device busy with handshakes.
const MAX_SEATS: usize = 8;
/// Connections at once from one address: an owner has one telephone, and perhaps a second try.
const MAX_PER_ADDRESS: usize = 4;

/// Names one connection.
pub(super) type Seat = u64;

/// The connections, oldest first.
#[derive(Debug, Default)]
pub(super) struct Seats {
    guests: Vec<(Seat, IpAddr)>,
    placed: Option<Seat>,
    next: Seat,
}

//= specs/house.md#house-pairing
//# A connection that is silent MUST NOT keep anybody else from pairing.
impl Seats {
    /// A seat for somebody from `address`; the second value has to leave for it.
    pub(super) fn admit(&mut self, address: IpAddr) -> (Seat, Option<Seat>) {
        let crowded = if self.from(address) >= MAX_PER_ADDRESS {
            Some(address)
        } else if self.guests.len() >= MAX_SEATS {
            self.guests.iter().map(|(_, from)| *from).max_by_key(|from| self.from(*from))
        } else {
            None
        };
        let evicted = crowded.and_then(|crowded| {
            let placed = self.placed;
            let gives = |(seat, from): &&(Seat, IpAddr)| *from == crowded && Some(*seat) != placed;
            self.guests.iter().find(gives).map(|(seat, _)| *seat)
        });
        if let Some(evicted) = evicted {
            self.leave(evicted);
        }
        let seat = self.next;
        self.next += 1;
        self.guests.push((seat, address));
        (seat, evicted)
    }

    /// Takes the place for `seat`, if it is free.
    pub(super) fn take_place(&mut self, seat: Seat) -> bool {
        let free = self.placed.is_none_or(|placed| placed == seat);
        if free {
            self.placed = Some(seat);
        }
        free
    }

    /// `seat` is free again, and the place if it had that.
    pub(super) fn leave(&mut self, seat: Seat) {
        self.guests.retain(|(one, _)| *one != seat);
        if self.placed == Some(seat) {
            self.placed = None;
        }
    }

    fn from(&self, address: IpAddr) -> usize {
        self.guests.iter().filter(|(_, from)| *from == address).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    //= specs/house.md#house-pairing
    //= type=test
    //# A connection that is silent MUST NOT keep anybody else from pairing.
    #[test]
    fn a_crowd_of_one_address_makes_room_for_others_and_never_takes_the_place_away() {
        let mut seats = Seats::default();
        let (trying, _) = seats.admit(address(1));
        assert!(seats.take_place(trying) && seats.take_place(trying));
        let crowd: Vec<Seat> = (1..MAX_PER_ADDRESS).map(|_| seats.admit(address(1)).0).collect();
        // His own oldest gives way, but not the one that tries.
        assert_eq!(seats.admit(address(1)).1, Some(crowd[0]));
        for last in 2..=5 {
            assert_eq!(seats.admit(address(last)).1, None);
        }
        let (owner, evicted) = seats.admit(address(9));
        assert_eq!(evicted, Some(crowd[1]), "whoever has most gives way");
        assert_eq!(seats.guests.len(), MAX_SEATS);
        assert!(!seats.take_place(owner), "one at a time");
        seats.leave(trying);
        assert!(seats.take_place(owner));
    }
}
