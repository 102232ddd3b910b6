//! Frames: two bytes of length, most significant first, then so many bytes of CBOR.

use zeroize::Zeroizing;

/// Largest frame without its length: an installation with a generous certificate is a quarter of it.
pub const MAX_FRAME: usize = 8 * 1024;
const HEADER: usize = 2;
/// Most bytes that wait: a peer sends at most two frames ahead (`ConfirmP` and `Install`).
const MAX_WAITING: usize = 2 * (HEADER + MAX_FRAME);

/// The peer sent more than any frame may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Oversize;

/// Puts the bytes that arrive together to frames. Wiped when dropped, since installations hold secrets.
#[derive(Default)]
pub(crate) struct FrameBuffer {
    waiting: Zeroizing<Vec<u8>>,
}

impl FrameBuffer {
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), Oversize> {
        if self.waiting.len() + bytes.len() > MAX_WAITING {
            return Err(Oversize);
        }
        // Grows once: a growing vector would leave unwiped copies behind.
        if self.waiting.capacity() == 0 {
            self.waiting.reserve_exact(MAX_WAITING);
        }
        self.waiting.extend_from_slice(bytes);
        Ok(())
    }

    /// The next whole frame, if there is one.
    pub(crate) fn next(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>, Oversize> {
        let Some((header, rest)) = self.waiting.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let length = usize::from(u16::from_be_bytes(*header));
        if length > MAX_FRAME {
            return Err(Oversize);
        }
        let Some(frame) = rest.get(..length) else { return Ok(None) };
        let frame = Zeroizing::new(frame.to_vec());
        self.waiting.drain(..HEADER + length);
        Ok(Some(frame))
    }
}

/// A frame around `body`, which our own encoders keep within [`MAX_FRAME`].
pub(crate) fn framed(body: &[u8]) -> Zeroizing<Vec<u8>> {
    let length = u16::try_from(body.len()).unwrap_or(u16::MAX);
    let mut frame = Zeroizing::new(Vec::with_capacity(HEADER + body.len()));
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(body);
    frame
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_whole_however_they_are_cut() {
        let stream: Vec<u8> = [framed(b"one"), framed(b""), framed(&[7; 300])]
            .iter()
            .flat_map(|f| f.to_vec())
            .collect();
        for cut in 1..stream.len() {
            let (mut buffer, mut seen) = (FrameBuffer::default(), Vec::new());
            for part in stream.chunks(cut) {
                buffer.push(part).unwrap();
                while let Some(frame) = buffer.next().unwrap() {
                    seen.push(frame.len());
                }
            }
            assert_eq!(seen, [3, 0, 300]);
        }
    }

    #[test]
    fn too_much_is_refused() {
        let mut buffer = FrameBuffer::default();
        buffer.push(&[0xff, 0xff]).unwrap();
        assert!(buffer.next().is_err());
        assert!(FrameBuffer::default().push(&vec![0; MAX_WAITING + 1]).is_err());
    }
}
