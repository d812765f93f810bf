#include <mltfr/app.h>

int main(int argc, char *argv[])
{
    return mltfr_app_run(argc, argv);
}
