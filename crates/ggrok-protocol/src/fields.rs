//! The fields of a message, looked up and changed on the way of each call.

use http::header::{HeaderMap, HeaderName, HeaderValue, ValueIter};

/// What [`HeaderMap`] does already, by code of which there is one copy. Both sides look up some thirty fields
/// for a call, and the compiler would put the map's code, 300 to 900 bytes, into each of those places: what a
/// call costs is above all how much code it runs once.
pub trait Fields {
    /// The first value of a field, where there is one.
    fn field(&self, name: &HeaderName) -> Option<&HeaderValue>;

    /// Each value of a field, in their order.
    fn field_lines(&self, name: &HeaderName) -> ValueIter<'_, HeaderValue>;

    /// Whether there is such a field.
    fn has_field(&self, name: &HeaderName) -> bool;

    /// Sets a field, in the place of all its values.
    fn set_field(&mut self, name: HeaderName, value: HeaderValue);

    /// Adds a value to those of a field.
    fn add_field(&mut self, name: HeaderName, value: HeaderValue);

    /// Removes a field, and returns its first value.
    fn remove_field(&mut self, name: &HeaderName) -> Option<HeaderValue>;
}

impl Fields for HeaderMap {
    #[inline(never)]
    fn field(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.get(name)
    }

    #[inline(never)]
    fn field_lines(&self, name: &HeaderName) -> ValueIter<'_, HeaderValue> {
        self.get_all(name).iter()
    }

    fn has_field(&self, name: &HeaderName) -> bool {
        self.field(name).is_some()
    }

    #[inline(never)]
    fn set_field(&mut self, name: HeaderName, value: HeaderValue) {
        self.insert(name, value);
    }

    #[inline(never)]
    fn add_field(&mut self, name: HeaderName, value: HeaderValue) {
        self.append(name, value);
    }

    #[inline(never)]
    fn remove_field(&mut self, name: &HeaderName) -> Option<HeaderValue> {
        self.remove(name)
    }
}
