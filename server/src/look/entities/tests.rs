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
