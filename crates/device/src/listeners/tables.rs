//! The kernel's tables of sockets (`/proc/self/net/*`, proc(5)), row by row.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A table of the kernel's; none where the kernel was built without it, as without IPv6.
pub(super) fn table(name: &str) -> io::Result<Option<BufReader<File>>> {
    match File::open(format!("/proc/self/net/{name}")) {
        Ok(table) => Ok(Some(BufReader::new(table))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Each row that is one, after the heading. Never the whole table at once: it has a row for every connection that there was
/// in the last minute, and so whoever floods the device says how long it is.
pub(super) fn each<R>(
    table: impl BufRead,
    row: impl Fn(&str) -> Option<R>,
    mut look: impl FnMut(R),
) -> io::Result<()> {
    let mut lines = table.lines();
    lines.next().transpose()?;
    for line in lines {
        if let Some(row) = row(&line?) {
            look(row);
        }
    }
    Ok(())
}

pub(super) struct Row {
    pub(super) local: SocketAddr,
    pub(super) state: u8,
    pub(super) inode: u64,
}

pub(super) fn row(line: &str) -> Option<Row> {
    let columns: Vec<&str> = line.split_whitespace().collect();
    Some(Row {
        local: address(columns.get(1)?)?,
        state: u8::from_str_radix(columns.get(3)?, 16).ok()?,
        inode: columns.get(9)?.parse().ok()?,
    })
}

/// `sk RefCnt Type Proto Iface R Rmem User Inode`: EtherType and inode.
pub(super) fn packet_row(line: &str) -> Option<(u16, u64)> {
    let columns: Vec<&str> = line.split_whitespace().collect();
    let ether_type = u16::from_str_radix(columns.get(3)?, 16).ok()?;
    Some((ether_type, columns.get(8)?.parse().ok()?))
}

/// `0100007F:1F90`: the address in words of the machine's byte order, the port as a number.
fn address(text: &str) -> Option<SocketAddr> {
    let (host, port) = text.split_once(':')?;
    let mut words = Vec::new();
    for index in (0..host.len()).step_by(8) {
        words.push(u32::from_str_radix(host.get(index..index + 8)?, 16).ok()?);
    }
    let ip = match words.as_slice() {
        [word] => IpAddr::V4(Ipv4Addr::from(word.to_ne_bytes())),
        [_, _, _, _] => {
            let mut bytes = [0; 16];
            for (chunk, word) in bytes.chunks_exact_mut(4).zip(&words) {
                chunk.copy_from_slice(&word.to_ne_bytes());
            }
            IpAddr::V6(Ipv6Addr::from(bytes))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_tables_are_read() {
        let v4 = address("0100007F:1F90").unwrap();
        assert!(v4 == "127.0.0.1:8080".parse().unwrap() || cfg!(target_endian = "big"));
        let v6 = address("00000000000000000000000001000000:0016").unwrap();
        assert!(v6 == "[::1]:22".parse().unwrap() || cfg!(target_endian = "big"));
        assert!(address("zz").is_none() && address("01:01").is_none());
        let packet = "sk       RefCnt Type Proto  Iface R Rmem   User   Inode\n\
                      ffff8800 3      3    0003   2     1 0      0      12345\n";
        let mut found = Vec::new();
        each(packet.as_bytes(), packet_row, |row| found.push(row)).unwrap();
        assert_eq!(found, [(3, 12_345)]);
    }

    struct Broken;

    impl io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::Other.into())
        }
    }

    #[test]
    fn a_table_is_looked_at_row_by_row_and_one_that_breaks_off_is_an_error() {
        let table = io::Read::chain(&b"heading\na\nb\n"[..], Broken);
        let mut seen = Vec::new();
        let done = each(BufReader::new(table), |row| Some(row.to_owned()), |row| seen.push(row));
        assert!(done.is_err(), "half a table has shown nothing");
        assert_eq!(seen, ["a", "b"], "the rows before were not kept for the end");
        assert!(each(BufReader::new(Broken), |_| Some(()), drop).is_err());
    }
}
