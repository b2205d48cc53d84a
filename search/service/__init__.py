"""What tune can do, one function per use case; the command line is one caller among others."""
