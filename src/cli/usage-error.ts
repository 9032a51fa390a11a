/** The error for a command line that is wrong: its message is all that is shown. */
export class UsageError extends Error {}
