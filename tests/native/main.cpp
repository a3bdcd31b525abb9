#include "testing.h"

int main() { return testing::run_all(); }
