//! HDR to SDR for one colour, in f64: the reference that [`super::levels`] makes its table from.
//!
//! 1. HLG or PQ to light on a display in cd/m² (BT.2100; HLG for its nominal 1000 cd/m² display, system gamma 1.2).
//! 2. Light above what SDR shows is rolled off by the Hermite spline of BT.2390 (section 5.4.1, in the PQ domain) from a
//!    1000 cd/m² source to SDR white at 203 cd/m², which is HDR's reference white (BT.2408). HDR reference white lands at
//!    about 0.9 of the SDR signal, with room above it for highlights, as BT.2408 advises. It is applied to the largest of
//!    R, G, B, and all three are scaled alike, so hues stay.
//! 3. BT.2020 to BT.709 primaries; what lies outside is drawn in with the curve of ACES' reference gamut compression,
//!    which leaves the inner four fifths alone, instead of being clipped.
//! 4. The inverse of BT.1886 (gamma 2.4): the light was meant for a display.
//!
//! # Issues
//! PQ masters above 1000 cd/m² are cut there; a recording's own mastering peak is not used.

/// How a picture's signal stands for light, where that is not plain SDR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Curve {
    /// SMPTE ST 2084.
    Pq,
    /// ARIB STD-B67.
    Hlg,
}

/// Peak of the source in cd/m²: HLG's nominal display, and the usual master of PQ.
const PEAK: f64 = 1000.0;
/// SDR white in cd/m² of the HDR scale: BT.2408's reference white.
const WHITE: f64 = 203.0;

/// BT.2020 signal R'G'B' (0..1) of an HDR picture to BT.709 signal R'G'B' (0..1).
pub fn to_sdr(curve: Curve, signal: [f64; 3]) -> [f64; 3] {
    let light = match curve {
        Curve::Pq => signal.map(|e| pq_to_light(e.clamp(0.0, 1.0))),
        Curve::Hlg => hlg_to_light(signal.map(|e| e.clamp(0.0, 1.0))),
    };
    let max = light[0].max(light[1]).max(light[2]);
    if max <= 0.0 {
        return [0.0; 3];
    }
    let gain = roll_off(max) / max / WHITE;
    let bt709 = draw_in(to_bt709(light.map(|l| l * gain)));
    bt709.map(|l| l.clamp(0.0, 1.0).powf(1.0 / 2.4))
}

const M1: f64 = 2610.0 / 16384.0;
const M2: f64 = 2523.0 / 4096.0 * 128.0;
const C1: f64 = 3424.0 / 4096.0;
const C2: f64 = 2413.0 / 4096.0 * 32.0;
const C3: f64 = 2392.0 / 4096.0 * 32.0;

/// ST 2084 EOTF: signal to cd/m².
fn pq_to_light(e: f64) -> f64 {
    let p = e.powf(1.0 / M2);
    10_000.0 * ((p - C1).max(0.0) / (C2 - C3 * p)).powf(1.0 / M1)
}

/// Its inverse.
fn light_to_pq(light: f64) -> f64 {
    let p = (light / 10_000.0).max(0.0).powf(M1);
    ((C1 + C2 * p) / (1.0 + C3 * p)).powf(M2)
}

/// BT.2100 HLG: inverse OETF, then OOTF with gamma 1.2.
fn hlg_to_light(signal: [f64; 3]) -> [f64; 3] {
    const A: f64 = 0.178_832_77;
    const B: f64 = 1.0 - 4.0 * A;
    const C: f64 = 0.559_910_73;
    let scene = signal.map(|e| if e <= 0.5 { e * e / 3.0 } else { (((e - C) / A).exp() + B) / 12.0 });
    let y = 0.2627 * scene[0] + 0.6780 * scene[1] + 0.0593 * scene[2];
    // y^0.2 at y = 0 is 0, and so is all light.
    scene.map(|e| PEAK * y.powf(0.2) * e)
}

/// BT.2390 EETF for black at 0: cd/m² in, at most [`WHITE`] out.
fn roll_off(light: f64) -> f64 {
    let peak = light_to_pq(PEAK);
    let e = (light_to_pq(light) / peak).min(1.0);
    let max = light_to_pq(WHITE) / peak;
    let knee = 1.5 * max - 0.5;
    if e <= knee {
        return light;
    }
    let t = (e - knee) / (1.0 - knee);
    let (t2, t3) = (t * t, t * t * t);
    let out = (2.0 * t3 - 3.0 * t2 + 1.0) * knee + (t3 - 2.0 * t2 + t) * (1.0 - knee) + (3.0 * t2 - 2.0 * t3) * max;
    pq_to_light(out * peak)
}

/// BT.2087: linear BT.2020 to linear BT.709; may leave 0..1.
fn to_bt709([r, g, b]: [f64; 3]) -> [f64; 3] {
    [
        1.660_491 * r - 0.587_641 * g - 0.072_850 * b,
        -0.124_550 * r + 1.132_900 * g - 0.008_349 * b,
        -0.018_151 * r - 0.100_579 * g + 1.118_730 * b,
    ]
}

/// Draws colours outside of BT.709 to its border. `limit` is how far each of R, G, B lies below the largest, relative to
/// it, for the purest BT.2020 colour; that comes to lie on the border.
fn draw_in(rgb: [f64; 3]) -> [f64; 3] {
    const LIMIT: [f64; 3] = [1.59, 1.12, 1.12];
    const FROM: f64 = 0.8;
    const POWER: f64 = 1.2;
    let max = rgb[0].max(rgb[1]).max(rgb[2]);
    if max <= 0.0 {
        return [0.0; 3];
    }
    let mut out = [0.0; 3];
    for i in 0..3 {
        let distance = (max - rgb[i]) / max;
        let drawn = if distance <= FROM {
            distance
        } else {
            let reach = (LIMIT[i] - FROM) / (((1.0 - FROM) / (LIMIT[i] - FROM)).powf(-POWER) - 1.0).powf(1.0 / POWER);
            let x = (distance - FROM) / reach;
            FROM + reach * x / (1.0 + x.powf(POWER)).powf(1.0 / POWER)
        };
        out[i] = max * (1.0 - drawn);
    }
    // A pure bright colour can exceed what one primary of BT.709 gives: it gets darker, its hue stays.
    let over = max.max(1.0);
    out.map(|c| c / over)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64, by: f64) {
        assert!((a - b).abs() <= by, "{a} is not {b} within {by}");
    }

    #[test]
    fn the_curves_pass_through_the_points_of_their_standards() {
        // BT.2408 table 1: reference white, 203 cd/m², is 58 % PQ and 75 % HLG; the peak of HLG is 1000.
        near(pq_to_light(0.58), 203.0, 2.0);
        near(hlg_to_light([0.75; 3])[0], 203.0, 1.0);
        near(hlg_to_light([1.0; 3])[1], 1000.0, 0.1);
        // 18 % grey card at 26 cd/m²: 38 % of both.
        near(pq_to_light(0.38), 26.0, 1.0);
        near(hlg_to_light([0.38; 3])[2], 26.0, 1.0);
        near(pq_to_light(light_to_pq(123.4)), 123.4, 1e-9);
        assert_eq!((hlg_to_light([0.0; 3])[0], pq_to_light(0.0)), (0.0, 0.0));
    }

    #[test]
    fn reference_white_has_room_above_and_the_peak_is_white() {
        for (curve, white) in [(Curve::Pq, 0.5807), (Curve::Hlg, 0.75)] {
            let [r, g, b] = to_sdr(curve, [white; 3]);
            near(r, 0.9, 0.02);
            // Neutral stays neutral.
            near(r, g, 1e-4);
            near(g, b, 1e-4);
        }
        near(to_sdr(Curve::Hlg, [1.0; 3])[0], 1.0, 1e-3);
        near(to_sdr(Curve::Pq, [0.7518; 3])[0], 1.0, 1e-3);
        // Below the knee light is kept: 26 cd/m² of 203 by gamma 2.4.
        near(to_sdr(Curve::Hlg, [0.38; 3])[0], (26.0f64 / 203.0).powf(1.0 / 2.4), 0.01);
    }

    #[test]
    fn brighter_stays_brighter_and_every_colour_is_legal() {
        for curve in [Curve::Pq, Curve::Hlg] {
            let mut last = -1.0;
            for i in 0..=200 {
                let out = to_sdr(curve, [i as f64 / 200.0; 3])[1];
                assert!(out >= last, "step {i}");
                last = out;
            }
            for i in 0..11 * 11 * 11 {
                let signal = [i / 121, i / 11 % 11, i % 11].map(|c| c as f64 / 10.0);
                let out = to_sdr(curve, signal);
                assert!(out.iter().all(|c| (0.0..=1.0).contains(c)), "{signal:?} became {out:?}");
            }
        }
    }

    #[test]
    fn pure_colours_are_drawn_in_and_keep_their_hue() {
        // BT.2020 green lies outside: red must come to zero and not below, green must stay on top.
        let [r, g, b] = draw_in(to_bt709([0.0, 0.5, 0.0]));
        assert!(r >= -1e-9 && g > 0.5 && (0.0..0.1).contains(&b), "{r} {g} {b}");
        // Skin lies inside: not touched.
        let skin = to_bt709([0.5, 0.4, 0.3]);
        for (a, b) in skin.iter().zip(draw_in(skin)) {
            near(*a, b, 1e-12);
        }
    }
}
