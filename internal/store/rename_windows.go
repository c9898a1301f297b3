package store

// renamesLocked says that a folder can be renamed while a file in it is open.
const renamesLocked = false
