//! The plane: just enough vector arithmetic for a game's rules.

use serde::{Deserialize, Serialize};
use std::f32::consts::TAU;
use std::ops::{Add, AddAssign, Mul, Neg, Sub, SubAssign};

/// The angle a part `alpha` of the way from one to another, along the shorter arc, in `-pi..=pi`; both in radians.
pub fn lerp_angle(from: f32, to: f32, alpha: f32) -> f32 {
    let near = |angle: f32| angle - TAU * (angle / TAU).round();
    if from == to { from } else { near(from + near(to - from) * alpha) }
}

/// A point or a direction in the plane.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[repr(C)]
pub struct Vec2 {
    /// First axis.
    pub x: f32,
    /// Second axis.
    pub y: f32,
}

impl Vec2 {
    /// The origin.
    pub const ZERO: Vec2 = Vec2 { x: 0.0, y: 0.0 };

    /// The point with these coordinates.
    pub const fn new(x: f32, y: f32) -> Vec2 {
        Vec2 { x, y }
    }

    /// The direction of length one at `angle` (radians, counter-clockwise from the first axis).
    pub fn from_angle(angle: f32) -> Vec2 {
        Vec2 { x: angle.cos(), y: angle.sin() }
    }

    /// The same direction, shortened to `max` if it is longer.
    #[must_use]
    pub fn clamp_len(self, max: f32) -> Vec2 {
        let length = self.length();
        if length > max { self * (max / length) } else { self }
    }

    /// The nearest point whose coordinates lie in `-half..=half`.
    #[must_use]
    pub fn clamp_box(self, half: f32) -> Vec2 {
        let axis = |v: f32| v.max(-half).min(half);
        Vec2 { x: axis(self.x), y: axis(self.y) }
    }

    /// Distance from the origin.
    pub fn length(self) -> f32 {
        self.dot(self).sqrt()
    }

    /// Scalar product.
    pub fn dot(self, other: Vec2) -> f32 {
        self.x * other.x + self.y * other.y
    }

    /// Square of the distance between two points, which is cheaper to compare than the distance.
    pub fn distance_squared(self, other: Vec2) -> f32 {
        let between = self - other;
        between.dot(between)
    }
}

impl Add for Vec2 {
    type Output = Vec2;

    fn add(self, other: Vec2) -> Vec2 {
        Vec2 { x: self.x + other.x, y: self.y + other.y }
    }
}

impl Sub for Vec2 {
    type Output = Vec2;

    fn sub(self, other: Vec2) -> Vec2 {
        Vec2 { x: self.x - other.x, y: self.y - other.y }
    }
}

impl Neg for Vec2 {
    type Output = Vec2;

    fn neg(self) -> Vec2 {
        Vec2 { x: -self.x, y: -self.y }
    }
}

impl Mul<f32> for Vec2 {
    type Output = Vec2;

    fn mul(self, factor: f32) -> Vec2 {
        Vec2 { x: self.x * factor, y: self.y * factor }
    }
}

impl AddAssign for Vec2 {
    fn add_assign(&mut self, other: Vec2) {
        *self = *self + other;
    }
}

impl SubAssign for Vec2 {
    fn sub_assign(&mut self, other: Vec2) {
        *self = *self - other;
    }
}
