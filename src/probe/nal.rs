//! Just enough of H.264 (ISO 14496-10) and HEVC (ISO 23008-2) to see whether a packet starts afresh.

/// Bytes of the length field in front of every NAL unit, from the decoder configuration record; 4 if that is cut off.
pub fn length_size(config: &[u8], hevc: bool) -> usize {
    config.get(if hevc { 21 } else { 4 }).map_or(4, |b| usize::from(b & 3) + 1)
}

/// Whether a length-prefixed packet holds an IDR slice, or for HEVC any IRAP slice (CRA too: pictures that lead it are
/// shown before it, so outside the margin that a seek leaves). A recovery point alone, as intra refresh has it, is no clean start.
pub fn begins_clean(mut packet: &[u8], length_size: usize, hevc: bool) -> bool {
    while let Some((length, rest)) = packet.split_at_checked(length_size) {
        let length = length.iter().fold(0usize, |n, b| n << 8 | usize::from(*b));
        let Some(header) = rest.first() else { return false };
        let clean = if hevc { (16..=21).contains(&(header >> 1 & 0x3f)) } else { header & 0x1f == 5 };
        if clean {
            return true;
        }
        let Some(next) = rest.get(length..) else { return false };
        packet = next;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idr_behind_its_parameter_sets_is_found() {
        let packet = [0, 0, 0, 2, 0x67, 1, 0, 0, 0, 2, 0x68, 1, 0, 0, 0, 3, 0x65, 1, 2];
        assert!(begins_clean(&packet, 4, false));
    }

    // Intra refresh: the container says keyframe, the stream has a recovery point (SEI, type 6) and an ordinary slice.
    #[test]
    fn a_recovery_point_is_no_clean_start() {
        assert!(!begins_clean(&[0, 0, 0, 2, 6, 6, 0, 0, 0, 2, 0x41, 1], 4, false));
    }

    #[test]
    fn hevc_cra_is_a_clean_start_and_a_trailing_picture_is_not() {
        assert!(begins_clean(&[0, 2, 21 << 1, 1], 2, true));
        assert!(!begins_clean(&[0, 2, 1 << 1, 1], 2, true));
    }

    #[test]
    fn lying_lengths_end_the_search() {
        assert!(!begins_clean(&[0xff, 0xff, 0xff, 0xff, 0x41], 4, false));
        assert!(!begins_clean(&[], 4, false));
        assert_eq!(length_size(&[1, 2], false), 4);
    }
}
