#include "document.h"

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <string.h>

static int encode(const cJSON *sensor, double value, double limit, char *alert, size_t room)
{
    cJSON *document = cJSON_CreateObject();
    bool encoded =
        cJSON_AddStringToObject(document, "sensor_id", cJSON_GetStringValue(sensor)) != NULL &&
        cJSON_AddNumberToObject(document, "value", value) != NULL &&
        cJSON_AddNumberToObject(document, "limit", limit) != NULL &&
        cJSON_PrintPreallocated(document, alert, (int)room, false);
    cJSON_Delete(document);
    return encoded ? (int)strlen(alert) : -1;
}

int document_alert(const char *payload, size_t size, double limit, char *alert, size_t room)
{
    cJSON *document = cJSON_ParseWithLength(payload, size);
    const cJSON *nested = cJSON_GetObjectItemCaseSensitive(document, "reading");
    const cJSON *reading = nested != NULL ? nested : document;
    const cJSON *sensor = cJSON_GetObjectItemCaseSensitive(reading, "sensor_id");
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(reading, "value");
    int alert_size = -1;
    if (cJSON_IsString(sensor) && cJSON_IsNumber(value)) {
        double number = cJSON_GetNumberValue(value);
        alert_size = number > limit ? encode(sensor, number, limit, alert, room) : 0;
    }
    cJSON_Delete(document);
    return alert_size;
}
