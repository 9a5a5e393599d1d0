"""The contracts of the components: what each kind promises, as functions that fail where a promise is broken."""
