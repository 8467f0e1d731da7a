use super::*;
use proptest::prelude::*;

fn cost(needed: &[Window], windows: &[Window], keep: u32, open: u32) -> u32 {
    let mut last = Window::NONE;
    let mut cost = 0;
    for (needed, window) in needed.iter().zip(windows) {
        assert!(window.covers(*needed));
        cost += window.width() + if *window == last { keep } else { open };
        last = *window;
    }
    cost
}

/// The twin: tries every place for every window.
fn cheapest(needed: &[Window], keep: u32, open: u32) -> u32 {
    let mut best = vec![0];
    for end in 1..=needed.len() {
        let mut window = needed[end - 1];
        let mut cheapest = u32::MAX;
        for from in (0..end).rev() {
            window = Window { leading: window.leading.min(needed[from].leading), trailing: window.trailing.min(needed[from].trailing) };
            let changes = (end - from) as u32;
            cheapest = cheapest.min(best[from] + open + (changes - 1) * keep + changes * window.width());
        }
        best.push(cheapest);
    }
    best[needed.len()]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_plan_is_close_to_the_cheapest(bits in prop::collection::vec(prop_oneof![4 => 1u64 << 40..1 << 44, 2 => 1u64 << 30..1 << 52, 1 => 1u64..], 1..150)) {
        let needed: Vec<Window> = bits.iter().map(|bits| Window::of(*bits)).collect();
        let mut windows = Windows::default();
        let costs: Vec<u32> = needed.iter().map(|needed| windows.add(*needed, 2, 13)).collect();
        windows.plan(needed.len());
        let planned = windows.planned().to_vec();
        let got = cost(&needed, &planned, 2, 13);
        prop_assert!(got <= *costs.last().unwrap_or(&0));
        let best = cheapest(&needed, 2, 13);
        prop_assert!(got <= best + best / 100 + 11, "{got} bits where {best} are possible");
        // Prefixes have plans of their own.
        let half = needed.len() / 2;
        windows.plan(half);
        let planned = windows.planned().to_vec();
        prop_assert!(cost(&needed[..half], &planned, 2, 13) <= half.checked_sub(1).map_or(0, |last| costs[last]));
    }
}

#[test]
fn a_leap_does_not_make_the_rest_dear() {
    let small = Window::of(0b11 << 48);
    let large = Window::of(u64::MAX >> 4);
    let needed: Vec<Window> = [vec![small; 20], vec![large], vec![small; 20]].concat();
    let mut windows = Windows::default();
    for needed in &needed {
        windows.add(*needed, 2, 13);
    }
    windows.plan(41);
    assert_eq!(windows.planned(), needed);
}
