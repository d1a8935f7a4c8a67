use super::*;

#[test]
fn a_circle_is_three_numbers() {
    assert_eq!(parse_near("1,-2.5,3"), Ok(Near { x: 1.0, y: -2.5, radius: 3.0 }));
    for wrong in ["", "1,2", "1,2,3,4", "1,2,-3", "1,2,NaN", "1,x,3", "1,2,inf"] {
        assert!(parse_near(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn those_without_the_field_come_last_whichever_way_is_sorted() {
    let row = <EntityRow as zerocopy::FromZeros>::new_zeroed();
    let keys = [Some(3.0), None, Some(f32::NAN), Some(-1.0), Some(3.0)];
    let key = |index: u32| keys[index as usize].map(Value::Float);
    let sorted = |down| {
        let mut found: Vec<_> = (0..5).map(|index| (index, row, None)).collect();
        sort(&mut found, key, down);
        found.into_iter().map(|(index, ..)| index).collect::<Vec<_>>()
    };
    assert_eq!(sorted(false), [3, 0, 4, 2, 1]);
    assert_eq!(sorted(true), [2, 0, 4, 3, 1]);
}

#[test]
fn what_has_no_order_has_a_place_so_that_the_order_is_one() {
    let row = <EntityRow as zerocopy::FromZeros>::new_zeroed();
    // The sorting of the standard library panics when it notices an order that is none.
    let vector = |index: u32| match (index * 37 % 64) as f32 {
        n if index.is_multiple_of(3) => Value::Pair(f32::NAN, n),
        n if index.is_multiple_of(7) => Value::Pair(n, f32::NAN),
        n => Value::Pair(n, -n),
    };
    let text = |index: u32| match index % 3 {
        0 => Value::Bad("its content is gone".to_owned()),
        _ => Value::Text(format!("{:02}", index * 37 % 64)),
    };
    for (name, value) in [("vectors", &vector as &dyn Fn(u32) -> Value), ("texts", &text)] {
        for down in [false, true] {
            let mut found: Vec<_> = (0..64).map(|index| (index, row, None)).collect();
            sort(&mut found, |index| Some(value(index)), down);
            let is_none: Vec<bool> = found.iter().map(|(index, ..)| value(*index).order(&value(*index)).is_none()).collect();
            let first = is_none.iter().position(|none| *none != is_none[0]).expect("of both kinds");
            assert!(is_none[0] == down && is_none[first..].iter().all(|none| *none != down), "{name} {is_none:?}");
        }
    }
}
